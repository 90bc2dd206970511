"""Clients that generators make of the document of a running edge, compiled where that has to be."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys

import openapi_generator_cli
from mesh import ROOT

HERE = pathlib.Path(__file__).resolve().parent
NODE = ROOT / "target/tools/neighbours/node"
JAR = pathlib.Path(openapi_generator_cli.__file__).parent / "openapi-generator.jar"
# What was compiled of the standard library stays there for the next run.
GO_CACHE = ROOT / "target/tools/neighbours/go"

# How long a command may take, in seconds. A generator took more than 120 on two cores with a load of 26.
PATIENCE = 300


def run(*command, cwd=None, env=None):
    """What it prints."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def tool(name):
    return NODE / "node_modules/.bin" / name


def openapi_generator(folder):
    """All four in one virtual machine, which takes most of the time to start."""
    clients = [
        {"generatorName": "python", "outputDir": "python"},
        {"generatorName": "typescript-fetch", "outputDir": "typescript/made/typescript-fetch"},
        {
            "generatorName": "java",
            "outputDir": "java",
            "library": "native",
            # The package for values that may be null beside absent is at no hand, and no value here may be null.
            "additionalProperties": {"openApiNullable": False},
        },
        # With the name that the program imports.
        {"generatorName": "go", "outputDir": "go", "gitHost": "example.com", "gitUserId": "ordermesh", "gitRepoId": "client", "packageName": "client"},
    ]
    files = []
    for client in clients:
        common = {"inputSpec": "openapi.json", "globalProperties": {"apiDocs": "false", "modelDocs": "false", "apiTests": "false", "modelTests": "false"}}
        file = folder / f"{client['generatorName']}.json"
        file.write_text(json.dumps({**common, **client}))
        files.append(file.name)
    run("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", JAR, "batch", "--fail-fast", *files, cwd=folder)


def java(folder):
    sources = [*sorted((folder / "java/src/main/java").rglob("*.java")), *sorted((HERE / "clients").rglob("*.java"))]
    # The generator brings Jackson, which its clients need.
    run("javac", "-nowarn", "-proc:none", "-cp", JAR, "-d", folder / "classes", *sources)


def go(folder):
    """Of the standard library alone: a module from anywhere else is an error."""
    shutil.copytree(HERE / "clients/go", folder / "go/place_order")
    alone = {"GOFLAGS": "-mod=readonly", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    env = {**os.environ, **alone, "GOCACHE": str(GO_CACHE), "GOPATH": str(folder / "gopath")}
    compiler = pathlib.Path(sys.executable).parent / "go"
    run(compiler, "build", "-o", folder / "place_order", "./place_order", cwd=folder / "go", env=env)


def openapi_python_client(folder):
    (folder / "config.json").write_text(json.dumps({"package_name_override": "ordermesh_client", "post_hooks": []}))
    tool = pathlib.Path(sys.executable).parent / "openapi-python-client"
    run(tool, "generate", "--path", "openapi.json", "--config", "config.json", "--meta", "none", "--output-path", "python/ordermesh_client", cwd=folder)


def hey_api(folder):
    run(tool("openapi-ts"), "-i", "openapi.json", "-o", "typescript/made/hey-api", "-c", "@hey-api/client-fetch", cwd=folder)


def orval(folder):
    (folder / "orval.config.cjs").write_text(
        "module.exports = { edge: { input: './openapi.json', output: { target: './typescript/made/orval/index.ts', client: 'fetch' } } };"
    )
    run(tool("orval"), "--config", "orval.config.cjs", cwd=folder)


def typescript(folder):
    """All clients in one run of the compiler."""
    for file in (HERE / "clients").glob("*.ts"):
        shutil.copy(file, folder / "typescript")
    shutil.copy(HERE / "clients/tsconfig.json", folder / "typescript")
    run(tool("tsc"), "-p", "typescript", cwd=folder)


def generate(document, folder):
    """Makes all clients in a folder."""
    (folder / "openapi.json").write_text(json.dumps(document))
    # Where generators of TypeScript look for what they generate for.
    (folder / "node_modules").symlink_to(NODE / "node_modules")
    for name in ("python", "typescript"):
        (folder / name).mkdir()

    def of_the_jar():
        openapi_generator(folder)
        java(folder)
        go(folder)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        makers = [pool.submit(of_the_jar), *(pool.submit(make, folder) for make in (hey_api, orval, openapi_python_client))]
        for maker in makers:
            maker.result()
    typescript(folder)
