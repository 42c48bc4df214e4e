"""Runs a real Prometheus on deploy/prometheus.yml, with a real node_exporter and stand-ins for two exporter pods.

What changes: addresses (the pods are ports of loopback), intervals (a second), and where targets are listed. Usage:
tests/prometheus.py FOLDER-OF-PROGRAMS
"""
import collections
import http.server
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import yaml

PATIENCE = 60
MACHINES = ["mlab%d-%s.mlab-sandbox.measurement-lab.org" % (number, site) for site in ("lga0t", "ams0t") for number in range(1, 5)]
programs = os.path.abspath(sys.argv[1])
os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
asked = collections.defaultdict(set)


def pod():
    """A script_exporter: says what it was asked for, and that it went well."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            query = urllib.parse.parse_qs(url.query)
            script = query.get("name", ["-"])[0]
            if url.path == "/probe":
                asked[query["target"][0], script].add(self.server.server_port)
                assert self.headers["X-Prometheus-Scrape-Timeout-Seconds"], "no timeout"
                body = 'script_success{script="%s"} 1\nscript_exit_code{script="%s"} 0\n' % (script, script)
            else:
                body = "script_exporter_stand_in 1\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def free_port():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return server.server_port


def start_sandbox():
    """A sandbox, and an environment that leads to it."""
    sandbox = subprocess.Popen([programs + "/monitoring-sandbox"], stdout=subprocess.PIPE, text=True)
    environment = dict(os.environ)
    for line in sandbox.stdout:
        name, value = shlex.split(line)[1].split("=", 1)
        environment[name] = value
        if name == "SANDBOX_URL":
            return sandbox, environment
    raise AssertionError("the sandbox did not start")


def run(work):
    pods = [pod(), pod()]
    node, web = free_port(), free_port()
    # Aliases become copies, because each job is changed below.
    config = json.loads(json.dumps(yaml.safe_load(open("deploy/prometheus.yml"))))
    config["rule_files"] = [os.path.abspath("deploy/" + name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        job.update(scrape_interval="1s", scrape_timeout="1s")
        job.pop("dns_sd_configs", None)
        job.pop("file_sd_configs", None)
        targets = {"script-exporter": ["127.0.0.1:%d" % port for port in pods], "node": ["127.0.0.1:%d" % node]}
        job["static_configs"] = [{"targets": targets.get(job["job_name"], MACHINES)}]
        # Only the number of the shard is known of a pod's name, so a second rule turns it into a port.
        for rule in job.get("relabel_configs", []):
            if rule.get("target_label") == "__address__":
                assert rule["replacement"] == "script-exporter-$1.script-exporter-shards.monitoring-token.svc:9172"
                shards = job["relabel_configs"]
        if "relabel_configs" in job:
            shards += [
                {"source_labels": ["__tmp_shard"], "regex": str(shard), "target_label": "__address__",
                 "replacement": "127.0.0.1:%d" % port}
                for shard, port in enumerate(pods)
            ]
    with open(work + "/prometheus.yml", "w") as file:
        yaml.safe_dump(config, file)

    # The directory that node_exporter reads.
    folder = work + "/monitoring-token"
    os.mkdir(folder)
    subprocess.run([programs + "/monitoring-token", "key", "generate", "--out", work + "/key"], check=True,
                   stdout=subprocess.DEVNULL)
    environment = dict(os.environ, MONITORING_SIGNER_KEY=work + "/key", MACHINE=MACHINES[0])
    subprocess.run([programs + "/monitoring-token", "-exchange=false", "-service=ndt/ndt7",
                    "-metrics-textfile=%s/probe.prom" % folder, "true"], check=True, env=environment)
    # Jobs with service tokens, in one folder.
    sandbox, environment = start_sandbox()
    for name, command in {
        "bot-a": ["gafaelfawr", "exec", "--username=bot-a", "--scopes=read:all"],
        "bot-b": ["gafaelfawr", "exec", "--username=bot-b", "--scopes=read:all"],
        "sts-a": ["stackstate", "exec", "--name=sts-a", "--roles=stackstate-power-user"],
        "sts-b": ["stackstate", "exec", "--name=sts-b", "--roles=stackstate-power-user"],
    }.items():
        subprocess.run([programs + "/monitoring-token", *command, "--metrics-textfile=%s/%s.prom" % (folder, name),
                        "--", "true"], check=True, env=environment)
    sandbox.terminate()
    sandbox.wait()
    log = open(work + "/log", "w")
    children = [
        subprocess.Popen(["prometheus-node-exporter", "--web.listen-address=127.0.0.1:%d" % node,
                          "--collector.disable-defaults", "--collector.textfile",
                          "--collector.textfile.directory=" + folder], stderr=log),
        subprocess.Popen(["prometheus", "--config.file=%s/prometheus.yml" % work, "--storage.tsdb.path=%s/data" % work,
                          "--web.listen-address=127.0.0.1:%d" % web], stderr=log),
    ]

    def query(expression):
        url = "http://127.0.0.1:%d/api/v1/query?%s" % (web, urllib.parse.urlencode({"query": expression}))
        try:
            with urllib.request.urlopen(url) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    def eventually(what, expression, number):
        end = time.monotonic() + PATIENCE
        while len(query(expression)) != number:
            assert time.monotonic() < end, "%s: %s has %s\n%s" % (
                what, expression, query(expression), open(work + "/log").read()[-2000:])
            time.sleep(0.2)
        return query(expression)

    try:
        jobs = {"monitoring-token-ndt7": "ndt7_client", "monitoring-token-wehe": "wehe_client"}
        for job, script in jobs.items():
            found = eventually("each machine is probed", 'script_success{job="%s",script="%s"}' % (job, script), len(MACHINES))
            assert {sample["metric"]["instance"] for sample in found} == set(MACHINES), found
            for sample in found:
                port = pods[int(sample["metric"]["shard"])]
                assert asked[sample["metric"]["instance"], script] == {port}, "always the same pod"
        assert len({port for ports in asked.values() for port in ports}) == 2, "both pods have machines"
        eventually("the exporters are up", 'up{job="script-exporter"} == 1', 2)
        metric = 'monitoring_token_run_success{machine="%s",service="ndt/ndt7"} == 1' % MACHINES[0]
        eventually("node_exporter has the metrics", metric, 1)
        eventually("node_exporter has each job with a token",
                   'monitoring_token_run_success{service=~"gafaelfawr|stackstate"} == 1', 4)
        eventually("node_exporter finds no duplicate", "node_textfile_scrape_error == 0", 1)
        # The alert on starts uses this metric.
        eventually("the file's time", 'node_textfile_mtime_seconds{file=~".*/monitoring-token/.*[.]prom"}', 5)
        with urllib.request.urlopen("http://127.0.0.1:%d/api/v1/rules" % web) as answer:
            groups = json.load(answer)["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) >= 15 and all(not rule.get("lastError") for rule in rules), rules
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


with tempfile.TemporaryDirectory() as work:
    run(work)
print("deploy/prometheus.yml: ok")
