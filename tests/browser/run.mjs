// What a browser makes of the status page: nothing is asked from elsewhere, it is live, it names the actor, hostile texts
// stay texts, and everybody can use it: dark and light, wide and narrow, without JavaScript, with the keyboard.
//
// `cargo xtask browser` starts it inside a network namespace: node run.mjs PROGRAM POLICIES CHROMIUM PICTURES

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { ADDRESS, Node, until } from "./node.mjs";

const [program, policies, browser, pictures] = process.argv.slice(2);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const SIZES = { wide: { width: 1280, height: 800 }, narrow: { width: 360, height: 740 } };
const PAGES = ["/", "/rules", "/rules?family=ipv4&table=filter"];
// What a hostile process, rule or chain would like to bring into the page.
const SCRIPT = "<img src=x onerror=pwned()>";
const NAME = "<b onmouseover>";

const folder = mkdtempSync(join(tmpdir(), "rw-browser-"));
const node = new Node(folder, program, policies);
let context;
let failed = 0;

async function test(name, work) {
  try {
    await work();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}

// A page that takes note of whatever it asks for and complains about.
async function open(path, options = {}) {
  const own = await context.browser().newContext({ viewport: SIZES.wide, ...options });
  const page = await own.newPage();
  page.asked = [];
  page.complaints = [];
  page.on("request", (request) => page.asked.push(request.url()));
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  await page.goto(ADDRESS + path, { waitUntil: "load" });
  return page;
}

// What is seen of it, and all that is in it.
const text = (page, selector) => page.locator(selector).first().innerText();
const whole = (page, selector) => page.locator(selector).first().textContent();

async function itIsLiveAndNamesTheActor() {
  const page = await open("/");
  assert.match(await text(page, "#state"), /^IN SYNC since /);
  assert.match(await text(page, "#incidents"), /No drift since the daemon started/);
  await until("the page is live", async () => (await text(page, "#live")) === "live");
  node.tamper(["-D", "INPUT", "1"]);
  await until("the page tells of it", async () => (await text(page, "#incidents")).includes("rule-deleted"));
  const told = await text(page, "#incidents");
  assert.match(told, /rule-deleted in IPv4 filter INPUT by iptables \(pid \d+/);
  assert.match(told, /repaired [\d.]+ ms after the change, by netlink/);
  assert.match(await text(page, "#state"), /^IN SYNC since /);
  assert.equal(await page.locator("#plots circle").count(), 1);
  // What was opened stays open, and the keyboard stays where it was, when something new comes.
  await page.locator("#incidents summary").first().focus();
  await page.keyboard.press("Enter");
  assert.match(await text(page, "#incidents details[open] pre"), /^\+ -A INPUT .*-j op-in/);
  node.tamper(["-F", "op-in"]);
  await until("the next one comes", async () => (await text(page, "#incidents")).includes("chain-flushed"));
  assert.equal(await page.locator("#incidents details[open]").count(), 1);
  assert.match(await page.evaluate(() => document.activeElement.innerText), /rule-deleted/);
  for (const url of page.asked) assert.ok(url.startsWith(`${ADDRESS}/`), `it asks for ${url}`);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
}

async function hostileTextsStayTexts() {
  const page = await open("/");
  await page.evaluate(() => { window.pwned = () => { window.wasPwned = true; }; });
  await until("the page is live", async () => (await text(page, "#live")) === "live");
  node.tamper(["-I", "op-in", "-m", "comment", "--comment", SCRIPT, "-j", "ACCEPT"], NAME);
  await until("the page tells of it", async () => (await text(page, "#incidents")).includes("rule-added"));
  const told = await whole(page, "#incidents");
  assert.ok(told.includes(`by ${NAME} (pid `), told);
  assert.ok(told.includes(SCRIPT), told);
  for (const path of PAGES) {
    const fresh = path === "/" ? page : await open(path);
    assert.equal(await fresh.locator("img, b, iframe, object, script:not([src='/live.js'])").count(), 0, path);
    assert.equal(await fresh.evaluate(() => window.wasPwned), undefined, path);
    assert.deepEqual(fresh.complaints, [], path);
    if (fresh !== page) await fresh.context().close();
  }
  await page.context().close();
}

async function itIsWholeWithoutJavaScript() {
  const page = await open("/", { javaScriptEnabled: false });
  assert.match(await text(page, "#state"), /^IN SYNC since /);
  assert.match(await text(page, "#incidents"), /rule-deleted/);
  assert.match(await text(page, "#policies"), /host[\s\S]*current[\s\S]*ip-masquerade/);
  assert.match(await text(page, "#live"), /as of the loading/);
  await page.goto(`${ADDRESS}/rules?family=ipv4&table=filter`);
  assert.match(await text(page, "main"), /\[\d+ packets, \d+ bytes\] -A INPUT/);
  await page.context().close();
}

async function everybodyCanUseIt(colorScheme, size) {
  for (const path of PAGES) {
    const page = await open(path, { colorScheme, viewport: SIZES[size] });
    // Whatever can be opened is looked at as well.
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
    // Evaluated by the debugger, which the page's policy does not hinder.
    await page.evaluate(AXE);
    const { violations, passes } = await page.evaluate(() => axe.run());
    assert.ok(passes.length > 10, `axe-core has looked at ${passes.length} things only`);
    const found = violations.map(({ id, impact, help, nodes }) =>
      `${impact} ${id}: ${help}: ${nodes.map((one) => one.html).slice(0, 3).join(" | ")}`);
    assert.deepEqual(found, [], `${path}, ${colorScheme}, ${size}`);
    const [needs, has] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(needs <= has, `${path} needs ${needs} of ${has} pixels`);
    await page.context().close();
  }
}

async function theKeyboardReachesTheContent() {
  const page = await open("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.innerText), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => location.hash), "#main");
  await page.context().close();
}

async function troubleIsShownToEverybody() {
  const page = await open("/");
  await until("the page is live", async () => (await text(page, "#live")) === "live");
  await node.trouble();
  await until("the fight is named", async () => /Fight over IPv4 filter INPUT/.test(await text(page, "#state")));
  await until("the refusal is shown", async () => (await text(page, "#policies")).includes("new version"));
  assert.match(await text(page, "#policies"), /running the previous version\s+new version .* REFUSED: .*NOWHERE/);
  await page.context().close();
  for (const scheme of ["light", "dark"]) await everybodyCanUseIt(scheme, "narrow");
}

async function itSaysWhenTheDaemonIsGone() {
  const page = await open("/");
  await until("the page is live", async () => (await text(page, "#live")) === "live");
  node.stop();
  await until("the page says so", async () => (await text(page, "#live")).startsWith("not connected"));
  // The new version is still refused.
  assert.match(await text(page, "#state"), /In sync, running the previous version, since /);
  await page.context().close();
}

async function takePictures() {
  mkdirSync(pictures, { recursive: true });
  for (const [name, path, options] of [
    ["status-page-light", "/", { colorScheme: "light", viewport: { width: 960, height: 600 } }],
    ["status-page-dark", "/", { colorScheme: "dark", viewport: { width: 960, height: 600 } }],
    ["status-page-narrow", "/", { colorScheme: "dark", viewport: SIZES.narrow }],
    ["rules-page-light", "/rules?family=ipv4&table=filter", { colorScheme: "light", viewport: { width: 960, height: 420 } }],
  ]) {
    const page = await open(path, options);
    if (path === "/") {
      await until("the page is live", async () => (await text(page, "#live")) === "live");
      await page.locator("#incidents summary").first().click();
    }
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: name === "status-page-light" });
    await page.context().close();
  }
}

try {
  await node.start();
  context = await chromium.launchPersistentContext(join(folder, "profile"), { executablePath: browser, args: FLAGS });
  await test("it is live, and names the actor", itIsLiveAndNamesTheActor);
  await test("pictures are taken", takePictures);
  await test("hostile texts stay texts", hostileTextsStayTexts);
  await test("it is whole without JavaScript", itIsWholeWithoutJavaScript);
  for (const scheme of ["light", "dark"]) {
    for (const size of Object.keys(SIZES)) {
      await test(`everybody can use it: ${scheme}, ${size}`, () => everybodyCanUseIt(scheme, size));
    }
  }
  await test("the keyboard reaches the content", theKeyboardReachesTheContent);
  await test("trouble is shown to everybody", troubleIsShownToEverybody);
  await test("it says when the daemon is gone", itSaysWhenTheDaemonIsGone);
} catch (error) {
  failed += 1;
  console.log(`FAILED  ${error.stack}`);
} finally {
  await context?.close();
  node.stop();
  if (failed > 0) console.log(`the daemon's log:\n${node.log?.join("")}`);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
console.log(failed === 0 ? "all passed" : `${failed} FAILED`);
process.exitCode = failed === 0 ? 0 : 1;
