"""The dashboard, the alert rules and the runbook name metrics, labels and alerts that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any, get_args

import pytest
import yaml

from resilient_stt import Event
from resilient_stt.metrics.instruments import ALL, Kind
from resilient_stt.metrics.prometheus import name_of

from .support.scripts import ROOT
from .test_docs import anchors, rows

FOLDER = ROOT / "examples" / "grafana"
RUNBOOK = ROOT / "docs" / "runbook.md"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
QUERIES = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"{panel['title']}, {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
SUFFIXES = {Kind.COUNTER: "_total", Kind.HISTOGRAM: "_bucket"}
SERIES = {name_of(i) + SUFFIXES.get(i.kind, ""): i for i in ALL}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_queries_ask_for_what_there_is(query: str) -> None:
    """Every series is exported, with the labels that the query asks for, and brackets close."""
    for opening, closing in ("()", "[]", "{}"):
        assert query.count(opening) == query.count(closing)
    names = re.findall(r"\bresilient_stt_\w+", query)
    assert names
    labels = {"le"} | {label for name in names for label in SERIES[name].labels}
    asked = re.findall(r"\bby \(([\w, ]+)\)", query)
    assert {label.strip() for part in asked for label in part.split(",")} <= labels
    assert set(re.findall(r"[{,]\s*(\w+)\s*[=!]", query)) <= labels
    for name in names:
        counts = SERIES[name].kind in SUFFIXES
        assert bool(re.search(rf"{name}(\{{[^}}]*\}})?\[", query)) is counts, "a rate of a gauge"


def test_the_alerts_fire_when_they_should() -> None:
    """Prometheus' own tool says so, where it is installed: `apt-get install prometheus`."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("there is no promtool")
    command = [promtool, "test", "rules", "tests/alerts_test.yaml"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_prometheus_takes_its_configuration() -> None:
    """Prometheus' own tool says so, where it is installed."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("there is no promtool")
    command = [promtool, "check", "config", str(FOLDER / "prometheus.yaml")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_compose_mounts_files_that_there_are() -> None:
    """Where each service looks for them; images have versions, and ports are on loopback."""
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    assert set(services) == {"prometheus", "grafana"}
    mounted = {}
    for service in services.values():
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source, target, mode = volume.split(":")
            assert (FOLDER / source).exists(), source
            assert mode == "ro"
            mounted[target] = source
    prometheus = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    assert f"--config.file={next(iter(mounted))}" in services["prometheus"]["command"]
    (rules,) = prometheus["rule_files"]
    assert f"/etc/prometheus/{rules}" in mounted
    provisioning = FOLDER / mounted["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (files,) = yaml.safe_load((provisioning / "dashboards/files.yaml").read_text())["providers"]
    assert f"{files['options']['path']}/dashboard.json" in mounted


def test_every_alert_has_a_section_in_the_runbook() -> None:
    """Each links to its own, and no section is about an alert that there is not."""
    text = RUNBOOK.read_text().split("## Alerts")[1].split("## Events")[0]
    assert re.findall(r"^### (\w+)$", text, re.M) == [rule["alert"] for rule in RULES]
    for rule in RULES:
        page, anchor = rule["annotations"]["runbook_url"].split("#")
        assert anchor == rule["alert"].lower() in anchors(ROOT / page)
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_the_runbook_says_what_to_do_about_every_event() -> None:
    """It lists each once."""
    listed = [row[0].strip("`") for row in rows(RUNBOOK, "| Event | What it means | What to do |")]
    assert sorted(listed) == sorted(event.name for event in get_args(Event))


def test_the_dashboard_loads() -> None:
    """Panels have their own places and ids, and take their data from the chosen source."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    for panel in panels:
        assert panel["description"].endswith(".")
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
