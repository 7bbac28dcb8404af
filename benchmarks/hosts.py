"""Several hosts on one machine: network namespaces with links of a chosen rate, and what an update takes among them.

    python benchmarks/hosts.py                       # LeNet and cifar10_quick, 2 to 4 hosts, 100 Mbit and 1 Gbit
    python benchmarks/hosts.py --nets lenet --hosts 2 --rates 100mbit --iterations 5
    python benchmarks/hosts.py --hosts 2 --rates 1gbit --run 'nettrain train mine.yaml'   # a rank of it on each host
    python benchmarks/hosts.py --hosts 2 --rates 1gbit --run '…' --cut 1:5 --patience 60  # host 1 is cut off after 5 s

Needs root, `ip` and `tc` (Debian: apt-get install iproute2), mpiexec of MPICH and mpi4py (pip install mpich mpi4py).

Each host is a namespace with one veth, limited both ways by tbf, and all are joined by a bridge. Ranks are made to talk
by TCP, as if there were no memory between them. They share the processors of this machine all the same: run it where
nothing else runs. There is no delay on the links but the kernel's own.

`model` is that of tools/scaling/model.py, with the rate that was asked for; `ratio` is measured / model.
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from nettrain.tools.scaling import model
from nettrain.tools.table import table

HERE = Path(__file__).parent
HEAD = [
    "net",
    "link",
    "hosts",
    "computing ms",
    "communication ms",
    "model ms",
    "ratio",
    "of it adding",
    "of an iteration",
]
LATENCY = 50e-6  # of a veth, a bridge and TCP
BURST = "128kb"  # what a limited link may send at once
AS_HOSTS = {
    "MPIR_CVAR_NOLOCAL": "1",
    "UCX_TLS": "tcp,self",
    "UCX_NET_DEVICES": "eth0",
    "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1",
}


def bits_per_second(rate):
    """``100mbit`` as a number."""
    found = re.fullmatch(r"([0-9.]+)([kmg])bit", rate)
    if not found:
        raise SystemExit(f"a rate is a number and kbit, mbit or gbit, such as 100mbit; got {rate}")
    return float(found[1]) * {"k": 1e3, "m": 1e6, "g": 1e9}[found[2]]


class Hosts:
    """As many hosts, as long as this context lasts. ``prefix`` and a number is the name of one's namespace."""

    def __init__(self, count, rate):
        self.count, self.rate, self.prefix = count, rate, f"nettrain{os.getpid()}h"
        self.bridge = f"nettrain{os.getpid()}b"

    def __enter__(self):
        try:
            self._ip("netns", "add", self.bridge)
            self._ip("-n", self.bridge, "link", "add", "br0", "type", "bridge")
            self._ip("-n", self.bridge, "link", "set", "br0", "up")
            for i in range(self.count):
                self._add(i)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _add(self, i):
        host, port = f"{self.prefix}{i}", f"p{i}"
        self._ip("netns", "add", host)
        self._ip("link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", port, "netns", self.bridge)
        self._ip("-n", host, "addr", "add", f"192.0.2.{i + 1}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._ip("-n", host, "link", "set", device, "up")
        self._ip("-n", self.bridge, "link", "set", port, "master", "br0")
        self._ip("-n", self.bridge, "link", "set", port, "up")
        for space, device in ((host, "eth0"), (self.bridge, port)):
            limit = ["root", "tbf", "rate", self.rate, "burst", BURST, "latency", "500ms"]
            call("tc", "-n", space, "qdisc", "add", "dev", device, *limit)

    def __exit__(self, *_):
        for name in [*(f"{self.prefix}{i}" for i in range(self.count)), self.bridge]:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def cut(self, i):
        """Take host i off the network."""
        self._ip("-n", self.bridge, "link", "set", f"p{i}", "down")

    def run(self, mpiexec, command, **options):
        """Start a command on every host, as one job; its process."""
        inside = f"exec ip netns exec {self.prefix}$PMI_RANK {shlex.join(command)}"
        words = [mpiexec, "-n", str(self.count), "sh", "-c", inside]
        return subprocess.Popen(words, env=os.environ | AS_HOSTS, start_new_session=True, text=True, **options)

    @staticmethod
    def _ip(*words):
        call("ip", *words)


def call(*words):
    """A system's command; its own words when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)}: {done.stderr.strip() or done.returncode}")


def finished(process, patience):
    """What a job printed, and its exit code; it is ended after so many seconds, or when this program is."""
    output = ""
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        print(f"not done after {patience:g} s; it is ended", file=sys.stderr)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return output, process.returncode


def rank(net, iterations):
    """What each rank does: time the net, and what it sends."""
    from nettrain.net.netspec import load
    from nettrain.ranks.launch import join
    from nettrain.tools import timing

    team = join()
    result = timing.measure(load(str(HERE / f"{net}.yaml")), iterations=iterations, team=team)
    if team.is_first:
        print(json.dumps(result["team"]))


def row(net, rate, hosts, found):
    """A line of the table."""
    link = model.Link(bits_per_second(rate) / 8 * model.ETHERNET, LATENCY)
    expected = 1e3 * model.chain(hosts, found["gradient_bytes"], link)
    measured = found["exchange_ms"] + found["share_ms"]
    adding = 1e3 * found["gradient_bytes"] * (hosts - 1) / hosts * model.ADDING + (hosts - 1) * 1e3 * model.MESSAGE
    return [
        net,
        rate,
        str(hosts),
        f"{found['compute_ms']:.1f}",
        f"{measured:.1f}",
        f"{expected:.1f}",
        f"{measured / expected:.2f}",
        f"{adding / expected:.0%}",
        f"{found['communication_share']:.0%}",
    ]


def run_it(hosts, mpiexec, command, cut, patience):
    """Run a command on the hosts, to the end; returns its exit code."""
    process = hosts.run(mpiexec, shlex.split(command))
    if cut:
        host, seconds = cut.split(":")
        timer = threading.Timer(float(seconds), hosts.cut, [int(host)])
        timer.daemon = True
        timer.start()
    started = time.perf_counter()
    _, code = finished(process, patience)
    print(f"exit code {code} after {time.perf_counter() - started:.1f} s")
    return code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="lenet,cifar10_quick", help="of this folder")
    parser.add_argument("--hosts", default="2,3,4")
    parser.add_argument("--rates", default="100mbit,1gbit")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--mpiexec", help="default the one beside this Python, or the first there is")
    parser.add_argument("--run", metavar="COMMAND", help="this instead, a rank of it on each host")
    parser.add_argument("--cut", metavar="HOST:SECONDS", help="take a host off the network after so many seconds")
    parser.add_argument("--patience", type=float, default=600, help="seconds that a job may take; default 600")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    parser.add_argument("--rank", metavar="NET", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank:
        rank(options.rank, options.iterations)
        return
    beside = str(Path(sys.executable).parent)
    mpiexec = options.mpiexec or shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    for program, cure in (
        (mpiexec, "pip install mpich mpi4py"),
        ("ip", "apt-get install iproute2"),
        ("tc", "the same"),
    ):
        if program is None or shutil.which(program) is None:
            raise SystemExit(f"{program or 'mpiexec'} is missing: {cure}")
    if os.geteuid():
        raise SystemExit("network namespaces are made by root alone")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the hosts go too
    rows, figures = [], []
    for rate in options.rates.split(","):
        for count in map(int, options.hosts.split(",")):
            with Hosts(count, rate) as hosts:
                if options.run:
                    sys.exit(run_it(hosts, mpiexec, options.run, options.cut, options.patience))
                for net in options.nets.split(","):
                    words = [sys.executable, __file__, "--rank", net, "--iterations", str(options.iterations)]
                    output, code = finished(hosts.run(mpiexec, words, stdout=subprocess.PIPE), options.patience)
                    if code:
                        raise SystemExit(f"{net} on {count} hosts with {rate}: exit code {code}\n{output}")
                    found = json.loads(output.splitlines()[-1])
                    rows.append(row(net, rate, count, found))
                    figures.append({"net": net, "rate": rate, "hosts": count, **found})
                    with contextlib.suppress(OSError):
                        print(*rows[-1], file=sys.stderr)
    print(table(HEAD, rows, right=range(2, len(HEAD))))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
