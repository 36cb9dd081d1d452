#!/usr/bin/env python3
"""Runs real firewall programs beside Ruleward: each ends as it does alone, and leaves the same rules of its own.

usage: run.py RULEWARD POLICIES ROUNDS [SCENE ...], as root (`cargo xtask neighbours`)

Every scene is a list of steps, each a command that must end with the same exit status with and without Ruleward. After the
last round the rules that are not Ruleward's must be the same, and all of Ruleward's must be in force. A `failed` in what a
command says counts as well: firewalld and ufw end with status 0 where a rule was refused.
"""

import difflib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

TABLES = ["filter", "nat", "mangle", "raw", "security"]
PATIENCE = 90
work = pathlib.Path(tempfile.mkdtemp(prefix="ruleward-neighbours-"))


def run(command, text=None, env=None):
    return subprocess.run(command, shell=isinstance(command, str), input=text, text=True, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def must(command, text=None):
    done = run(command, text)
    if done.returncode:
        raise SystemExit(f"{command}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def wait(what, condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise SystemExit(f"waited {PATIENCE} s in vain: {what}")


class Ruleward:
    """The daemon with a chain and a jump in each table of both families."""

    def __init__(self, program, policies):
        self.program, self.home = program, work / "ruleward"
        for folder in ["state", "run", "resources"]:
            (self.home / folder).mkdir(parents=True)
        chains, attachments = [], []
        for table in TABLES:
            both = f'families = ["ipv4", "ipv6"], table = "{table}"'
            chains.append(f'{{ {both}, name = "op-out", rules = ["-p tcp --dport 9 -j RETURN", "-j op-two"] }}')
            chains.append(f'{{ {both}, name = "op-two", rules = ["-p udp --dport 9 -j RETURN"] }}')
            attachments.append(f'{{ {both}, hook = "OUTPUT", placement = "first", rule = "-j op-out" }}')
        self.config = self.home / "ruleward.toml"
        self.config.write_text(f"""node-name = "node1"
state-directory = "{self.home}/state"
runtime-directory = "{self.home}/run"
resources = "{self.home}/resources"
policy-directory = "{policies}"
backend = "nft"
http = []
[policies.web]
component = "static-rules.wasm"
grants = {{ tables = ["filter", "nat", "mangle", "raw", "security"], chains = ["op-*"] }}
[policies.web.settings]
chains = [{", ".join(chains)}]
attachments = [{", ".join(attachments)}]
""")
        self.log = open(self.home / "log", "w")
        self.daemon = subprocess.Popen([program, "--config", self.config, "run"], stdout=self.log, stderr=self.log)
        wait("Ruleward is in sync", self.in_sync)

    def in_sync(self):
        return all_there() and run([self.program, "--config", self.config, "status"]).returncode == 0


def all_there():
    """Whether each rule of ours is there once in each table of both families."""
    lines = run("iptables-save; ip6tables-save").stdout.splitlines()
    kinds = [("-A OUTPUT ", "-j op-out"), ("-A op-out ", "-j op-two"), ("-A op-two ", "-j RETURN")]
    return all(sum(line.startswith(chain) and line.endswith(target) for line in lines) == 2 * len(TABLES) for chain, target in kinds)


def foreign():
    """The rules that are not Ruleward's; an empty table says nothing."""
    lines, out = run("iptables-save; echo; ip6tables-save; nft list tables | grep -v ' ip6* \\(filter\\|nat\\|mangle\\|raw\\|security\\)$'").stdout.splitlines(), []
    for line in lines:
        if line.startswith("#") or "op-out" in line or "op-two" in line or "rw:" in line:
            continue
        out.append(re.sub(r"(sha-[lr]h|br)-[0-9a-f]{12,}", r"\1", line.split(" [")[0]))
    # A table without rules and with open policies is as good as none.
    tables, current = [], []
    for line in out:
        current.append(line)
        if line == "COMMIT":
            if any(l.startswith("-A") or (l.startswith(":") and not l.endswith(" ACCEPT")) for l in current):
                tables += current
            current = []
    # Sorted: firewalld inserts by number, and counts from the top of a chain that begins with a rule of ours.
    return sorted(tables) + [line for line in current if line]


def private(*paths):
    """Copies of files and folders over the real ones, in this mount namespace."""
    for path in map(pathlib.Path, paths):
        copy = work / "private" / str(path).replace("/", "_")
        copy.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(path, copy)
        must(["mount", "--bind", str(copy), str(path)])


def fill():
    text = ""
    for table in TABLES:
        text += f"*{table}\n" + "".join(f":fw-{chain} - [0:0]\n" for chain in range(5))
        text += "".join(f"-A fw-{chain} -s 10.0.{chain}.{host} -j RETURN\n" for chain in range(5) for host in range(1, 21))
        text += "-A OUTPUT -j fw-1\n-A fw-1 -j fw-2\nCOMMIT\n"
    return text


def kube(chains, rules):
    text = "*filter\n" + "".join(f":KUBE-SVC-{chain} - [0:0]\n" for chain in range(chains))
    text += "".join(f"-A KUBE-SVC-{chain} -s 10.1.{chain % 250}.{rule} -j RETURN\n" for chain in range(chains) for rule in range(rules))
    return text + "COMMIT\n"


class Scene:
    """Steps of one program. `start` and `stop` are steps as well."""

    def prepare(self):
        pass

    def start(self):
        return []

    def round(self, number):
        return []

    def after(self):
        pass

    def stop(self):
        return []


class FlushAndDelete(Scene):
    def round(self, number):
        return [("iptables-restore -w -n", fill()), ("iptables -F && iptables -X", None),
                ("ip6tables -F && ip6tables -X", None), ("iptables -t nat -F && iptables -t nat -X", None)]


class FiveTables(FlushAndDelete):
    def round(self, number):
        return [("iptables-restore -w -n", fill()),
                ("iptables-restore -w -n", "".join(f"*{table}\n-F\n-X\nCOMMIT\n" for table in TABLES))]


class KubeProxy(FlushAndDelete):
    """10,000 lines a second, and chains that go. Beside it our rule is deleted, which is repaired."""
    def round(self, number):
        delete = "*filter\n" + "".join(f":KUBE-SVC-{c} - [0:0]\n" for c in range(500, 1000)) + "".join(f"-X KUBE-SVC-{c}\n" for c in range(500, 1000)) + "COMMIT\n"
        tamper = "(sleep 0.05; iptables -w -D OUTPUT -j op-out; true) >/dev/null 2>&1 & iptables-restore -w -n"
        return [(tamper, kube(1000, 9)), (tamper, delete)]


class Firewalld(Scene):
    backend = "iptables"

    def prepare(self):
        private("/etc/firewalld")
        config = pathlib.Path("/etc/firewalld/firewalld.conf")
        lines = [f"FirewallBackend={self.backend}" if line.startswith("FirewallBackend=") else line for line in config.read_text().splitlines()]
        config.write_text("\n".join(lines) + "\n")

    def start(self):
        pathlib.Path("/run/dbus").mkdir(exist_ok=True)
        pathlib.Path("/run/dbus/pid").unlink(missing_ok=True)
        must("dbus-daemon --system --fork")
        self.log = work / "firewalld.log"
        log = open(self.log, "a")
        self.daemon = subprocess.Popen(["firewalld", "--nofork", "--nopid"], stdout=log, stderr=log)
        wait("firewalld runs", lambda: run("firewall-cmd --state").returncode == 0)
        return [("firewall-cmd --state", None)]

    def round(self, number):
        return [("firewall-cmd --reload", None), ("firewall-cmd --state", None),
                (f"firewall-cmd --add-port={2000 + number}/tcp", None)] + ([("firewall-cmd --complete-reload", None)] if number % 10 == 9 else []) \
            + [(f"! grep ERROR {self.log}", None)]

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()
        run("kill $(cat /run/dbus/pid)")
        return []


class FirewalldNftables(Firewalld):
    backend = "nftables"


class Ufw(Scene):
    def prepare(self):
        private("/etc/ufw", "/etc/default/ufw", "/lib/ufw")

    def start(self):
        return [("ufw --force enable", None), ("ufw allow 22/tcp", None)]

    def round(self, number):
        return [("ufw reload", None), ("/lib/ufw/ufw-init flush-all", None), ("ufw --force enable", None)]

    def stop(self):
        return [("ufw --force disable", None), ("/lib/ufw/ufw-init flush-all", None)]


class Ferm(Scene):
    CONFIG = "domain (ip ip6) { table filter { chain INPUT { policy ACCEPT; proto tcp dport 22 ACCEPT; jump mine; } chain mine { proto udp dport 53 ACCEPT; } } table nat chain POSTROUTING { outerface eth9 MASQUERADE; } }\n"

    def prepare(self):
        (work / "ferm.conf").write_text(self.CONFIG)

    def round(self, number):
        return [(f"ferm {work}/ferm.conf", None), (f"ferm --flush {work}/ferm.conf", None), (f"ferm --slow {work}/ferm.conf", None)]

    def stop(self):
        return [(f"ferm --flush {work}/ferm.conf", None)]


class Shorewall(Scene):
    def prepare(self):
        private("/etc/shorewall", "/var/lib/shorewall")
        etc = pathlib.Path("/etc/shorewall")
        run("ip link add eth9 type dummy; ip addr add 192.0.2.1/24 dev eth9; ip link set eth9 up")
        (etc / "zones").write_text("fw firewall\nnet ipv4\n")
        (etc / "interfaces").write_text("net eth9\n")
        (etc / "policy").write_text("$FW net ACCEPT\nnet all DROP\nall all REJECT\n")
        (etc / "rules").write_text("ACCEPT net $FW tcp 22\n")
        config = etc / "shorewall.conf"
        config.write_text(config.read_text().replace("STARTUP_ENABLED=No", "STARTUP_ENABLED=Yes"))

    def start(self):
        return [("shorewall start", None)]

    def round(self, number):
        return [("shorewall reload", None), ("shorewall restart", None)]

    def stop(self):
        return [("shorewall clear", None)]


class Dockerd(Scene):
    def start(self):
        return []

    def round(self, number):
        data = work / f"docker-{number}"
        log = open(work / "dockerd.log", "a")
        daemon = subprocess.Popen(["dockerd", "--iptables=true", "--data-root", str(data), "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid",
                                   "--storage-driver", "vfs", "--host", "unix:///run/docker.sock"], stdout=log, stderr=log)
        run("for i in $(seq 600); do [ -S /run/docker.sock ] && docker info >/dev/null 2>&1 && break; sleep 0.1; done")
        steps = [("docker info --format '{{.Driver}}'", None), (f"docker network create net{number}", None), (f"docker network rm net{number}", None)]
        self.daemon = daemon
        return steps

    def after(self):
        self.daemon.terminate()
        self.daemon.wait()


SCENES = {scene.__name__.lower(): scene for scene in
          [FlushAndDelete, FiveTables, KubeProxy, Firewalld, FirewalldNftables, Ufw, Ferm, Shorewall, Dockerd]}


def play(name, rounds, ruleward):
    """The exit status of each step, what is left, and what the steps that failed have said."""
    scene, statuses, failed = SCENES[name](), [], []

    def steps(title, wanted):
        for command, text in wanted:
            done = run(command, text)
            statuses.append((title, str(command).replace(str(work), "..."), done.returncode))
            if done.returncode or "failed" in done.stdout.lower():
                failed.append(f"{title}: {command}: status {done.returncode}: {done.stdout.strip()[-400:]}")

    scene.prepare()
    steps("start", scene.start())
    for number in range(rounds):
        steps(f"round {number}", scene.round(number))
        scene.after()
        # A repair falls now into this step of the next round, now into that.
        time.sleep(number * 0.37 % 1.3)
    if ruleward:
        wait("all of Ruleward's rules are in force", ruleward.in_sync)
    left = foreign()
    steps("stop", scene.stop())
    if ruleward:
        wait("all of Ruleward's rules are in force at the end", ruleward.in_sync)
    return {"statuses": statuses, "left": left, "failed": failed}


def inside(program, policies, rounds, name, beside):
    """One scene, in namespaces of its own, so that none finds what another has left."""
    must("mount --make-rprivate /; ip link set lo up; mount -t tmpfs tmpfs /run")
    ruleward = Ruleward(program, policies) if beside else None
    begin = time.monotonic()
    try:
        result = play(name, rounds, ruleward)
    finally:
        if ruleward:
            ruleward.daemon.kill()
    result["seconds"] = time.monotonic() - begin
    (pathlib.Path(os.environ["RULEWARD_RESULT"])).write_text(json.dumps(result))


def compare(name, program, policies, rounds):
    """Whether the scene is the same with and without Ruleward."""
    results = []
    for beside in ["alone", "beside"]:
        result = work / f"{name}-{beside}.json"
        words = ["unshare", "--net", "--mount", "--ipc", sys.executable, __file__, "--inside", beside, program, policies, str(rounds), name]
        ended = subprocess.run(words, env=dict(os.environ, RULEWARD_RESULT=str(result)))
        if ended.returncode:
            print(f"{name}: FAILED {beside}", flush=True)
            return False
        results.append(json.loads(result.read_text()))
    alone, beside = results
    different = sum(one != other for one, other in zip(alone["statuses"], beside["statuses"]))
    difference = list(difflib.unified_diff(alone["left"], beside["left"], "alone", "beside Ruleward", lineterm=""))
    same = not different and not difference and len(beside["failed"]) <= len(alone["failed"])
    print(f"{name}: {'the same' if same else 'NOT THE SAME'}: {rounds} rounds, {len(alone['statuses'])} steps, {different} with another exit status, "
          f"{len(beside['failed'])} that complain ({len(alone['failed'])} alone); {alone['seconds']:.0f} s alone, {beside['seconds']:.0f} s beside Ruleward", flush=True)
    for line in ([] if same else beside["failed"][:10] + difference[:40]):
        print("   ", line, flush=True)
    return same


def main(words):
    if words[:1] == ["--inside"]:
        beside, program, policies, rounds, name = words[1:]
        return inside(program, policies, int(rounds), name, beside == "beside")
    program, policies, rounds = os.path.abspath(words[0]), os.path.abspath(words[1]), int(words[2])
    same = [compare(name, program, policies, rounds) for name in words[3:] or SCENES]
    shutil.rmtree(work, ignore_errors=True)
    raise SystemExit(0 if all(same) else 1)


main(sys.argv[1:])
