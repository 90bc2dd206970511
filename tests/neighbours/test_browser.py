"""Chromium's own EventSource, which nobody has written anything around."""

import subprocess
import unittest

import generated
from mesh import ROOT, Mesh, Process, free_port

SCRIPT = generated.HERE / "clients/eventsource.mjs"


class Browser:
    """A page of an edge, that does one thing after another."""

    def __init__(self, edge):
        command = ["node", str(SCRIPT), str(ROOT / "target/tools/console"), edge]
        self.node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, what, expected):
        self.node.stdin.write(what + "\n")
        self.node.stdin.flush()
        answer = self.node.stdout.readline().strip()
        assert answer == expected, f"{what}: {answer}"

    def end(self):
        self.node.stdin.close()
        status = self.node.wait(30)
        self.node.stdout.close()
        assert status == 0, status


class EventSource(unittest.TestCase):
    def browser(self, edge):
        browser = Browser(edge)
        self.addCleanup(browser.end)
        return browser

    def test_an_ended_order_is_asked_for_once_more_and_never_again(self):
        mesh = Mesh()
        self.addCleanup(mesh.end)
        mesh.account("alice", 100)
        order = mesh.order("alice", 100)
        mesh.ended(order)
        browser = self.browser(mesh.edge)
        browser(f"watch /gateway/orders/{order}:watch", "watching")
        # One that is closed by its own decision makes no request any more (WHATWG HTML, section 9.2.3).
        browser("until closed", "closed")
        browser("seen", "NEW FINISHED end")
        browser("requests", "200 204")

    def test_a_watch_lives_through_an_outage(self):
        ports = free_port(), free_port()
        mesh = Mesh(ports)
        urls = [f"--{name}-url=http://127.0.0.1:{port}" for name, port in zip(("orders", "payments"), ports)]
        edge = Process("gateway", ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *urls])
        self.addCleanup(edge.end)
        self.addCleanup(mesh.end)
        mesh.edge = "http://" + edge.address("http")
        mesh.pause()
        mesh.account("alice", 100)
        order = mesh.order("alice", 100)
        browser = self.browser(mesh.edge)
        browser(f"watch /gateway/orders/{order}:watch", "watching")
        browser("until status NEW", "status NEW")
        mesh.process.kill()
        # What was under way ends with it, and whoever comes again is answered so by the edge.
        browser("until twice UPSTREAM_UNAVAILABLE", "twice UPSTREAM_UNAVAILABLE")
        mesh.process.start()
        mesh.resume()
        browser("until closed", "closed")
        browser("seen", "NEW FINISHED end")
