"""A RabbitMQ of a test's own, as tests/world/rabbitmq.rs starts one."""

import glob
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from mesh import eventually, free_port

# The server's own scripts: Debian's in /usr/sbin change to the user `rabbitmq` and its fixed folders.
SCRIPTS = ("/usr/lib/rabbitmq/bin", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/rabbitmq/sbin")
# Some seconds on an idle machine.
START = 120


def installed(program, folders):
    places = [f"{folder}/{program}" for folder in folders]
    found = [place for pattern in places for place in glob.glob(pattern)] or [shutil.which(program)]
    assert found[0], f"{program} is missing: run scripts/setup"
    return found[0]


class Broker:
    """On 127.0.0.1 with the user `guest` and the virtual host `/`."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="neighbours-"))
        self.scripts = pathlib.Path(installed("rabbitmq-server", SCRIPTS)).parent
        port, names, distribution = free_port(), free_port(), free_port()
        self.place = f"127.0.0.1:{port}"
        for name in ("home", "data", "log"):
            (self.folder / name).mkdir()
        for name, text in {
            "rabbitmq.conf": f"listeners.tcp.1 = {self.place}\nlog.console = true\nlog.file = false\n",
            "enabled_plugins": "[].\n",
            # The machine's own file would set the node name of the machine's own broker.
            "rabbitmq-env.conf": "",
        }.items():
            (self.folder / name).write_text(text)
        self.env = {
            "PATH": f"{self.scripts}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder / "home"),
            "RABBITMQ_NODENAME": "neighbours@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # The script becomes the virtual machine instead of waiting for it, and starts no daemon that outlives the test.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noshell -noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
        }
        self.log = open(self.folder / "output", "w")
        self.processes = []
        self.start(installed("epmd", ("/usr/lib/erlang/erts-*/bin",)), "-port", str(names), "-address", "127.0.0.1")

        def listens():
            with socket.socket() as probe:
                return True if probe.connect_ex(("127.0.0.1", names)) == 0 else None

        eventually("epmd", listens)
        server = self.start(str(self.scripts / "rabbitmq-server"))
        self.run(f"rabbitmqctl --quiet wait --pid {server.pid} --timeout {START}")

    def start(self, *command):
        """The kernel ends it with whoever has started it."""
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        process = subprocess.Popen(command, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.processes.append(process)
        return process

    def run(self, script):
        """Runs commands of a shell, in which `rabbitmqctl` means this broker."""
        done = subprocess.run(["sh", "-ec", script], env=self.env, capture_output=True, text=True, timeout=START + 30)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}{(self.folder / 'output').read_text()}"

    def url(self, user="guest", password="guest"):
        return f"amqp://{user}:{password}@{self.place}/%2f"

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.log.close()
        shutil.rmtree(self.folder)
