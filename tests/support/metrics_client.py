"""The pages of health and metrics on a test's services, without a server."""

from __future__ import annotations

from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from integration.web.health import health_blueprint, metrics_blueprint
from integration.web.problems import install


def client_of(services):
    app = Flask("ringback", static_folder=None)
    install(app)
    app.register_blueprint(health_blueprint(services))
    app.register_blueprint(metrics_blueprint(services))
    return app.test_client()


def figures(client):
    """Every sample as {name{label=value,…}: value}."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples
