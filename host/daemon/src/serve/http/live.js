// Replaces sections of the page as they change. Without it, the page is whole and is reloaded by hand.
"use strict";
(() => {
  if (!document.getElementById("state")) return; // nothing of this page is sent
  const indicator = document.getElementById("live");
  const say = (text) => { if (indicator) indicator.textContent = text; };
  const source = new EventSource("/events");
  source.onopen = () => say("live");
  source.onerror = () => say("not connected; what is shown may be old");
  const replace = (id) => (event) => {
    const section = document.getElementById(id);
    if (!section) return;
    const open = [...section.querySelectorAll("details[open]")].map((one) => one.id);
    const focused = section.contains(document.activeElement) ? document.activeElement.id : "";
    section.innerHTML = event.data;
    for (const one of open) document.getElementById(one)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus();
  };
  for (const id of ["state", "policies", "incidents", "plots", "daemon"]) source.addEventListener(id, replace(id));
})();
