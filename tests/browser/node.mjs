// A node under a policy, with a running daemon, in the network namespace of this process: it must be one of its own.

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PATIENCE = 60_000;
export const ADDRESS = "http://127.0.0.1:9746";

const CONFIGURATION = (folder, policies) => `
node-name = "worker-7"
refresh-interval = "1h"
backend = "nft"
state-directory = "${folder}/state"
runtime-directory = "${folder}/run"
resources = "${folder}/resources"
policy-directory = "${policies}"

[policies.host]
component = "static-rules.wasm"
grants = { tables = ["filter", "nat"], chains = ["op-*"], sets = ["op-*"] }

[policies.host.settings]
chains = [
    { table = "filter", name = "op-in", rules = ["-m conntrack --ctstate ESTABLISHED -j ACCEPT", "-p tcp --dport 22 -j ACCEPT", "-p tcp --dport 443 -j ACCEPT"] },
    { table = "nat", name = "op-post", rules = ["-o uplink -j MASQUERADE"] },
]
attachments = [
    { table = "filter", hook = "INPUT", placement = "first", rule = "-j op-in" },
    { table = "nat", hook = "POSTROUTING", placement = "last", rule = "-j op-post" },
]

[policies.ip-masquerade]
grants = { tables = ["nat"], chains = ["ipm-*"] }
`;

export class Node {
  constructor(folder, program, policies) {
    this.folder = folder;
    this.program = program;
    for (const name of ["state", "run", "resources", "tools"]) mkdirSync(join(folder, name));
    writeFileSync(join(folder, "ruleward.toml"), CONFIGURATION(folder, policies));
  }

  async start() {
    execFileSync("ip", ["link", "set", "lo", "up"]);
    this.log = [];
    this.daemon = spawn(this.program, ["--config", join(this.folder, "ruleward.toml"), "run"]);
    this.daemon.stderr.on("data", (data) => this.log.push(data.toString()));
    await until("the node is right", async () => (await fetch(`${ADDRESS}/readyz`)).ok);
  }

  // Somebody with root, by the name of a program that may be anything.
  tamper(words, name = "iptables") {
    const file = join(this.folder, "tools", name);
    try {
      // A copy has the name in the kernel that a link would not have.
      copyFileSync(execFileSync("readlink", ["-f", which("iptables-nft")]).toString().trim(), file);
    } catch (error) {
      if (error.code !== "ETXTBSY") throw error;
    }
    // By another name it wants to be told which of its tools it is.
    execFileSync(file, name === "iptables" ? words : ["iptables", ...words], { argv0: name, stdio: "pipe" });
  }

  // A new version that its policy refuses, and somebody who keeps undoing a repair.
  async trouble() {
    const file = join(this.folder, "ruleward.toml");
    writeFileSync(file, readFileSync(file, "utf8").replace("--dport 443 -j ACCEPT", "--dport 443 -j NOWHERE"));
    for (let round = 0; round < 12; round += 1) {
      try {
        this.tamper(["-D", "INPUT", "1"]);
      } catch {
        // It is not back yet, which is what a fight is like.
      }
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  stop() {
    this.daemon?.kill("SIGTERM");
  }
}

function which(program) {
  return execFileSync("sh", ["-c", `PATH="$PATH:/usr/sbin:/sbin"; command -v ${program}`]).toString().trim();
}

export async function until(what, condition) {
  const deadline = Date.now() + PATIENCE;
  let last = "";
  while (Date.now() < deadline) {
    try {
      if (await condition()) return;
    } catch (error) {
      last = `: ${error}`;
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`waited ${PATIENCE / 1000} s in vain: ${what}${last}`);
}
