"""What docs/NEIGHBOURS.md says of neighbours on the exchange, as it stands there: its permissions, and how Node and Java take events. (Python is
examples/python/follow_events.py, in tests/e2e/clients.rs.)"""

import pathlib
import re
import subprocess
import tempfile
import unittest

import generated
from broker import Broker
from mesh import ROOT, Mesh, eventually
from test_calls import BUF

JARS = ("/usr/share/java/amqp-client.jar", "/usr/share/java/protobuf.jar", "/usr/share/java/slf4j-api.jar")
USER, PASSWORD = "shop", "secret"
# What a program prints once all of the snippet is done, and so its queue is bound.
BOUND = "bound"


def snippet(language):
    """The one block of this language in the guide."""
    guide = (ROOT / "docs/NEIGHBOURS.md").read_text().partition("## Neighbours on the exchange")[2]
    [block] = re.findall(rf"```{language}\n(.*?)```", guide, re.DOTALL)
    return block


def setUpModule():
    global broker, mesh
    broker = Broker()
    unittest.addModuleCleanup(broker.end)
    broker.run(f"rabbitmqctl --quiet add_user {USER} {PASSWORD}\n{snippet('sh')}")
    mesh = Mesh(env={"AMQP_URL": broker.url()})
    unittest.addModuleCleanup(mesh.end)


class Guide(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory(prefix="neighbours-")
        self.addCleanup(made.cleanup)
        self.folder = pathlib.Path(made.name)

    def takes_an_event(self, *command):
        """A program that runs until it is ended, and prints the id and the order of each event that it takes."""
        output = self.folder / "output"
        command = ["setpriv", "--pdeathsig", "KILL", *map(str, command), broker.url(USER, PASSWORD)]
        with output.open("w") as file:
            program = subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=file)

        def end():
            program.kill()
            program.wait()

        self.addCleanup(end)

        def printed(pattern):
            def look():
                text = output.read_text()
                assert program.poll() is None, text
                return re.search(pattern, text, re.MULTILINE)

            return eventually(f"{pattern} of {command}", look)

        printed(f"^{BOUND}$")
        order = mesh.order("guide", 9_007_199_254)
        uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        printed(f"^{uuid} {order} 9007199254n?$")

    def test_node(self):
        (self.folder / "node_modules").symlink_to(generated.NODE / "node_modules")
        template = '{"version":"v2","plugins":[{"local":"node_modules/.bin/protoc-gen-es","out":"stubs","opt":"target=js,import_extension=js"}]}'
        generated.run(BUF, "generate", ROOT / "proto", "--template", template, cwd=self.folder)
        (self.folder / "package.json").write_text('{"type": "module"}')
        program = self.folder / "follow.js"
        # Imports are done first, wherever they stand.
        program.write_text(f"const url = process.argv[2];\n{snippet('js')}console.log('{BOUND}');\n")
        self.takes_an_event("node", program)

    def test_java(self):
        generated.run("/usr/bin/protoc", "-I", ROOT / "proto", "--java_out", self.folder, "ordermesh/orders/v1/events.proto")
        lines = snippet("java").splitlines()
        imports = [line for line in lines if line.startswith("import ")]
        body = [line for line in lines if line not in imports]
        program = self.folder / "Follow.java"
        program.write_text("\n".join([
            *imports,
            "public class Follow {",
            "public static void main(String[] arguments) throws Exception {",
            "ConnectionFactory factory = new ConnectionFactory();",
            "factory.setUri(arguments[0]);",
            *body,
            f'System.out.println("{BOUND}");',
            "}",
            "}",
        ]))
        path = ":".join(JARS)
        generated.run("javac", "-nowarn", "-cp", path, "-d", self.folder, program, *self.folder.rglob("Events.java"))
        self.takes_an_event("java", "-XX:TieredStopAtLevel=1", "-cp", f"{self.folder}:{path}", "Follow")
