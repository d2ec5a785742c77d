"""Starts and stops the services that load.py and catch_up.py measure, and reads what their processes take from /proc."""
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass, field

@dataclass
class Service:
    """A service on loopback. Several URLs are several processes on one store, which share the load."""

    name: str
    urls: list
    processes: list = field(default_factory=list)
    start_ms: float = 0


def launch(command, seconds_max, is_ready, **options):
    """Starts a process and waits until `is_ready` of what it has said so far. Returns it, its output, and the seconds."""
    with tempfile.NamedTemporaryFile(prefix="daybook-load-") as output:
        # Not a pipe: one that nobody reads fills up.
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
        while True:
            said = pathlib.Path(output.name).read_text(errors="replace")
            if is_ready(said):
                return process, said, time.monotonic() - began
            if process.poll() is not None or time.monotonic() - began > seconds_max:
                process.kill()
                raise SystemExit(f"{command[0]} did not start:\n{said}")
            time.sleep(0.002)


def start(daybook, options):
    """Starts `daybook serve`. Returns the process, its URL and the seconds until it said that it is ready."""
    # With tables that are empty it is ready once they are filled from the log.
    command = [daybook, "serve", "--listen", "127.0.0.1:0", *options]
    process, said, seconds = launch(command, 3600, lambda said: "ready after" in said)
    return process, "http://" + re.search(r"listening on (\S+)", said).group(1), seconds


def stop(process):
    """Ends a process with SIGTERM. Returns the seconds that it took."""
    began = time.monotonic()
    process.terminate()
    process.wait()
    return time.monotonic() - began


def start_service(name, daybook, options, count=1):
    """Starts `count` processes with the same options, one after the other."""
    service = Service(name, [])
    for _ in range(count):
        process, url, seconds = start(daybook, options)
        service.urls.append(url)
        service.processes.append(process)
        service.start_ms = seconds * 1000
    return service


def start_baseline(name, source, python, database):
    """Starts Metaflow's own service from a checkout; its database is there and migrated."""
    place = urllib.parse.urlparse(database)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {
        "MF_METADATA_HOST": "127.0.0.1",
        "MF_METADATA_PORT": port,
        "MF_METADATA_DB_HOST": place.hostname,
        "MF_METADATA_DB_PORT": place.port or 5432,
        "MF_METADATA_DB_USER": place.username or "postgres",
        "MF_METADATA_DB_PSWD": place.password or "postgres",
        "MF_METADATA_DB_NAME": place.path.strip("/"),
    }
    environment = os.environ | {variable: str(value) for variable, value in settings.items()}
    url = f"http://127.0.0.1:{port}"
    command = [python, "-m", "services.metadata_service.server"]
    process, _, seconds = launch(command, 60, lambda _: answers(url), cwd=source, env=environment)
    return Service(name, [url], [process], seconds * 1000)


def answers(url):
    try:
        return get(url, "/ping") == "pong"
    except OSError:
        return False


def get(url, path):
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        return answer.read().decode()


def network_options(kafka, postgres):
    """Options of a daybook with topics and a schema of its own on these servers."""
    own = f"load_{uuid.uuid4().hex[:8]}"
    return ["--log", f"{kafka.rstrip('/')}/{own}", "--tables", postgres, "--tables-schema", own]


def stat(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def processor_seconds(pid):
    """Of a process, the children that it has, and those that it had."""
    found = [stat(pid), *(stat(other) for other in os.listdir("/proc") if other.isdigit())]
    own = sum(map(int, found[0][11:15]))
    children = sum(int(other[11]) + int(other[12]) for other in found[1:] if other and int(other[1]) == pid)
    return (own + children) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    return int(stat(pid)[21]) * os.sysconf("SC_PAGE_SIZE") >> 20


def memory_mib(pid):
    """Resident memory of a process: all of it, the anonymous part, and pages of files that are mapped."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+)", status).group(1)) >> 10 for name in ("VmRSS", "RssAnon", "RssFile")]


def own_processor_seconds(pid):
    """Of a process without its children, which is quick to read."""
    return sum(map(int, stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """Processor time of everything on this machine."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
