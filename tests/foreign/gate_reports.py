"""Reads what `secateur gate` wrote with the parsers of other projects: gate_reports.py FOLDER.

FOLDER holds out.FORMAT and out.attest. A parser that is not installed is named and skipped: junitparser, sarif-pydantic, sarif-tools,
in-toto-attestation. SECATEUR_SARIF_SCHEMA names the JSON Schema of SARIF 2.1.0 (CI takes it from PyPI), which jsonschema then applies.
"""
import base64
import importlib
import json
import os
import re
import sys
import xml.etree.ElementTree
from pathlib import Path

folder = Path(sys.argv[1])
FAILED, EXCEPTED = 5, 3


def found(module):
    try:
        return importlib.import_module(module)
    except ImportError:
        print(f"skipped: no {module}")
        return None


report = json.loads((folder / "out.json").read_text())
assert report["schema"] == "secateur.gate-report/1" and report["exitCode"] == 3
findings = [f for test in report["tests"] for f in test["findings"]]
assert len(findings) == FAILED + EXCEPTED, findings

sarif = json.loads((folder / "out.sarif").read_text())
results = sarif["runs"][0]["results"]
assert len(results) == FAILED + EXCEPTED
assert len({r["partialFingerprints"]["secateurGate/v1"] for r in results}) == len(results)
assert sum("suppressions" in r for r in results) == EXCEPTED
if (module := found("sarif_pydantic")) is not None:
    assert len(module.Sarif.model_validate(sarif).runs[0].results) == len(results)
if (module := found("sarif.loader")) is not None:
    assert len(module.load_sarif_file(str(folder / "out.sarif")).get_results()) == len(results)
if (schema := os.environ.get("SECATEUR_SARIF_SCHEMA")) and (module := found("jsonschema")) is not None:
    rules = json.loads(Path(schema).read_text())
    module.validators.validator_for(rules)(rules).validate(sarif)

tree = xml.etree.ElementTree.parse(folder / "out.junit").getroot()
assert tree.tag == "testsuites" and len(tree.findall(".//testcase")) == len(report["tests"])
assert len(tree.findall(".//failure")) == 1 and len(tree.findall(".//error")) == 2
assert {e.tag for e in tree.iter()} <= {"testsuites", "testsuite", "testcase", "failure", "error", "system-out"}
if (module := found("junitparser")) is not None:
    parsed = module.JUnitXml.fromfile(str(folder / "out.junit"))
    assert (parsed.failures, parsed.errors) == (1, 2)

quality = json.loads((folder / "out.gitlab").read_text())
for entry in quality:
    assert {"description", "check_name", "fingerprint", "severity", "location"} <= set(entry)
    assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
    assert entry["location"]["lines"]["begin"] >= 1
assert len({entry["fingerprint"] for entry in quality}) == FAILED + EXCEPTED

commands = [line for line in (folder / "out.github").read_text().splitlines() if line.startswith("::")]
for line in commands:
    assert re.fullmatch(r"::(error|warning) file=secateur\.toml,line=\d+,title=[^,:]+::.+", line), line
assert len(commands) == FAILED + EXCEPTED

envelope = json.loads((folder / "out.attest").read_text())
assert envelope["payloadType"] == "application/vnd.in-toto+json"
statement = json.loads(base64.b64decode(envelope["payload"]))
assert statement["_type"] == "https://in-toto.io/Statement/v1"
try:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
except ImportError:
    print("skipped: no in_toto_attestation")
else:
    Statement.copy_from_pb(json_format.ParseDict(statement, statement_pb2.Statement())).validate()
try:
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
except ImportError:
    print("skipped: no predicate test_result in in_toto_attestation")
else:
    json_format.ParseDict(statement["predicate"], test_result_pb2.TestResult())
