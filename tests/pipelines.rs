//! The pipelines and manifests in `deploy/` work: each step that Jenkins, GitLab and Kubernetes would run is run with
//! the environment from its file, and the parts of a manifest that only meet in a cluster fit together.

use std::collections::BTreeSet;
use std::fs;

use monitoring_token::cli;
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::docs::manual::{Stage, repository};
use crate::support::eventually;

fn read(name: &str) -> String {
    let path = repository().join("deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(name: &str) -> Vec<Yaml<'static>> {
    let text: &'static str = Box::leak(read(name).into_boxed_str());
    Yaml::load_from_str(text).expect("the file is YAML")
}

/// The text at a path of names and indexes.
#[track_caller]
fn text<'a>(node: &'a Yaml<'_>, path: &str) -> &'a str {
    let found = at(node, path);
    found.as_str().unwrap_or_else(|| panic!("no text at {path}: {found:?}"))
}

#[track_caller]
fn at<'a, 'b>(node: &'a Yaml<'b>, path: &str) -> &'a Yaml<'b> {
    path.split('.').fold(node, |node, step| match step.parse::<usize>() {
        Ok(index) => &node[index],
        Err(_) => &node[step],
    })
}

fn sequence<'a, 'b>(node: &'a Yaml<'b>, path: &str) -> &'a [Yaml<'b>] {
    at(node, path).as_sequence().unwrap_or_else(|| panic!("no list at {path}"))
}

/// Runs the script with a command that does not exit in place of its own, and kills only its shell.
#[track_caller]
fn ends_with_its_shell(stage: &Stage, script: &str, command: &str) {
    let holding = script.replace(command, "sh hold");
    assert_ne!(holding, script, "{command} is not in the script");
    fs::write(
        stage.path("work/hold"),
        "trap ': >ended; exit' TERM\n: >started\nwhile :; do sleep 0.02; done\n",
    )
    .unwrap();
    let wait = |name: &str| format!("until [ -e {name} ]; do sleep 0.02; done\n");
    let ended = stage.run(&format!(
        "cat >job <<'END'\n{holding}\ntrue\nEND\nsh job &\n{}kill -KILL $!\n{}",
        wait("started"),
        wait("ended")
    ));
    assert_eq!(ended.status, 0, "{ended:?}");
}

#[test]
fn the_jenkins_stage_posts_the_metrics_with_a_token_that_goes_with_it() {
    let file = read("jenkins/Jenkinsfile");
    let code: String = file.lines().filter(|line| !line.starts_with("//")).collect();
    assert_eq!(code.matches('{').count(), code.matches('}').count(), "a brace is missing");
    let script = file.split("sh '''").nth(1).and_then(|rest| rest.split("'''").next()).expect("a sh step");
    let environment = file.split("environment {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    let exports = environment
        .lines()
        .filter_map(|line| line.trim().split_once(" = "))
        .map(|(name, value)| format!("export {name}={value}\n"))
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(exports.lines().count(), 2, "{exports}");
    let secret = file.split("variable: '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    // Jenkins has the administrator's token in a separate file, and in no variable.
    let given = format!("unset GAFAELFAWR_ADMIN_TOKEN\nexport JOB_NAME=nightly {secret}=admin.token\n");
    let stage = Stage::new();
    let ended = stage.run(&format!("{exports}{given}{script}"));
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(stage.calls(), ["curl"], "{ended:?}");
    assert!(ended.stdout.contains("offsets"), "{ended:?}");
    let left = || stage.sandbox.made_tokens("/sandbox/gafaelfawr");
    assert!(left().is_empty(), "left behind: {:?}", left());
    let job = format!("{exports}{given}{script}");
    ends_with_its_shell(&stage, &job, "deploy/jenkins/send-metrics.sh metrics.json");
    eventually("the deletion of the token", || left().is_empty().then_some(()));
}

#[test]
fn the_gitlab_job_runs_sts_with_a_token_that_goes_with_it() {
    let documents = documents("gitlab/stackstate.gitlab-ci.yml");
    let job = at(&documents[0], "monitors");
    let url = text(job, "variables.STS_CLI_URL");
    let script = sequence(job, "script")
        .iter()
        .map(|line| format!("{}\n", line.as_str().expect("a line")))
        .collect::<Vec<_>>()
        .concat();
    let stage = Stage::new();
    let ended = stage.run(&format!("export STS_CLI_URL={url}\n{script}"));
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(stage.calls(), ["sts"], "{ended:?}");
    let left = || stage.sandbox.made_tokens("/sandbox/stackstate");
    assert!(left().is_empty(), "left behind: {:?}", left());
    ends_with_its_shell(&stage, &format!("export STS_CLI_URL={url}\n{script}"), "sts monitor list");
    eventually("the deletion of the token", || left().is_empty().then_some(()));
}

/// The pod of a manifest at this path.
fn pod(name: &str, document: usize, path: &str) -> Yaml<'static> {
    at(&documents(name)[document], path).clone()
}

fn pods() -> Vec<(&'static str, Yaml<'static>)> {
    [
        ("kubernetes/cronjob.yaml", 0, "spec.jobTemplate.spec.template.spec"),
        ("kubernetes/machines-job.yaml", 1, "spec.template.spec"),
        ("kubernetes/base/statefulset.yaml", 0, "spec.template.spec"),
    ]
    .map(|(name, document, path)| (name, pod(name, document, path)))
    .to_vec()
}

/// The value of a variable of the pod's container.
fn variable<'a>(pod: &'a Yaml<'_>, name: &str) -> Option<&'a str> {
    let list = sequence(pod, "containers.0.env");
    list.iter().find(|entry| entry["name"].as_str() == Some(name)).and_then(|entry| entry["value"].as_str())
}

/// The volume that is mounted where this path is, and the rest of the path.
#[track_caller]
fn volume<'a, 'b>(pod: &'a Yaml<'b>, path: &'a str) -> (&'a Yaml<'b>, &'a str) {
    let mounts = sequence(pod, "containers.0.volumeMounts");
    let (mount, rest) = mounts
        .iter()
        .find_map(|mount| Some((mount, path.strip_prefix(text(mount, "mountPath"))?.strip_prefix('/')?)))
        .unwrap_or_else(|| panic!("nothing is mounted at {path}"));
    let volumes = sequence(pod, "volumes");
    let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
    (volume.unwrap_or_else(|| panic!("no volume for {mount:?}")), rest)
}

#[test]
fn the_cron_job_reaches_the_target() {
    let pod = pod("kubernetes/cronjob.yaml", 0, "spec.jobTemplate.spec.template.spec");
    let words = ["containers.0.command", "containers.0.args"].map(|path| sequence(&pod, path));
    let words =
        words.concat().iter().map(|word| word.as_str().expect("a word").to_owned()).collect::<Vec<_>>();
    let program = words[0].strip_prefix("/opt/monitoring-token/usr/bin/").expect("the program of the volume");
    let line = shlex::try_join(words[1..].iter().map(String::as_str)).unwrap();
    let exports = sequence(&pod, "containers.0.env")
        .iter()
        .map(|entry| format!("export {}='{}'\n", text(entry, "name"), text(entry, "value")))
        .collect::<Vec<_>>()
        .concat();
    let stage = Stage::new();
    // Only what the manifest sets.
    let ended = stage.run(&format!("unset TARGET MACHINE\n{exports}{program} {line}\n"));
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert_eq!(stage.calls(), ["ndt7-client"], "{ended:?}");
}

#[test]
fn paths_in_a_pod_are_in_its_volumes() {
    // The commands that create the objects that the manifests refer to.
    let comment = read("kubernetes/base/kustomization.yaml");
    let kubectl = |begin: &str| {
        let line = comment.lines().find_map(|line| line.strip_prefix("#   ")?.strip_prefix(begin));
        line.unwrap_or_else(|| panic!("no {begin}")).trim().to_owned()
    };
    let secret = kubectl("kubectl -n monitoring-token create secret generic ");
    let base = kubectl("kubectl apply -k ");
    assert!(repository().join(&base).join("kustomization.yaml").is_file(), "{base}");
    let kustomization = &documents("kubernetes/base/kustomization.yaml")[0];
    assert_eq!(text(kustomization, "namespace"), kubectl("kubectl create namespace "));
    // The exporter's configuration: a kustomization turns the file beside it into a ConfigMap.
    let map = &documents("script_exporter/kustomization.yaml")[0];
    let config_name = text(map, "configMapGenerator.0.name");
    let (config_key, config_file) = text(map, "configMapGenerator.0.files.0").split_once('=').expect("a key");
    assert!(repository().join("deploy/script_exporter").join(config_file).is_file(), "{config_file}");

    for (name, pod) in pods() {
        // The key is in the secret, and the pod's group can read it.
        let (key, file) = volume(&pod, variable(&pod, "MONITORING_SIGNER_KEY").expect("a key"));
        assert_eq!(format!("{} --from-file={file}", text(key, "secret.secretName")), secret, "{name}");
        // Octal for Kubernetes, which reads YAML 1.1.
        assert_eq!(at(key, "secret.defaultMode").as_integer(), Some(440), "{name}: {key:?}");
        assert!(at(&pod, "securityContext.fsGroup").as_integer().is_some(), "{name}");
        // The program is at the image's path; the image has this version.
        let path = variable(&pod, "PATH").map(|path| path.split(':').next().unwrap().to_owned());
        let folder = path.unwrap_or_else(|| {
            let program = text(&pod, "containers.0.command.0");
            program.strip_suffix("/monitoring-token").expect("the program").to_owned()
        });
        // The init container copies the image's tree to the place where an image volume would have it.
        let (copy, inside) = volume(&pod, &folder);
        assert!(copy["emptyDir"].as_mapping().is_some(), "{name}");
        let init = at(&pod, "initContainers.0");
        let reference = text(init, "image");
        let wanted = concat!("/monitoring-token:", env!("CARGO_PKG_VERSION"), "-init");
        assert!(reference.ends_with(wanted), "{name}: {reference}");
        assert_eq!(text(init, "volumeMounts.0.name"), text(copy, "name"), "{name}");
        let target = text(init, "volumeMounts.0.mountPath");
        let dockerfile = read("Dockerfile");
        assert!(dockerfile.contains(&format!("\"/root-of-image/.\", \"{target}/\"]")), "{name}: {target}");
        assert!(dockerfile.contains(&format!("[\"/{inside}/monitoring-token\"]")), "{name}: {inside}");
        // Its output folders are writable.
        if let Some(cache) = variable(&pod, "MONITORING_TOKEN_CACHE_DIR") {
            assert!(volume(&pod, cache).0["emptyDir"].as_mapping().is_some(), "{name}: {cache}");
        }
        // Every mount has a volume, and every volume is mounted.
        let named = |list: &str| -> BTreeSet<String> {
            sequence(&pod, list).iter().map(|entry| text(entry, "name").to_owned()).collect()
        };
        assert_eq!(named("containers.0.volumeMounts"), named("volumes"), "{name}");
    }

    let exporter = documents("kubernetes/base/statefulset.yaml");
    let pod = at(&exporter[0], "spec.template.spec");
    let argument = text(pod, "containers.0.args.0").strip_prefix("-config.file=").expect("a configuration");
    let (volume_of_config, file) = volume(pod, argument);
    assert_eq!((text(volume_of_config, "configMap.name"), file), (config_name, config_key));
    // All selectors match the pods and the port.
    let labels = at(&exporter[0], "spec.template.metadata.labels");
    assert_eq!(at(&exporter[0], "spec.selector.matchLabels"), labels);
    let port = text(pod, "containers.0.ports.0.name");
    assert_eq!(text(pod, "containers.0.readinessProbe.httpGet.port"), port);
    for service in &documents("kubernetes/base/services.yaml") {
        assert_eq!(at(service, "spec.selector"), labels);
        assert_eq!(text(service, "spec.ports.0.targetPort"), port);
    }
    let policy = &documents("kubernetes/base/networkpolicy.yaml")[0];
    assert_eq!(at(policy, "spec.podSelector.matchLabels"), labels);
    assert_eq!(text(policy, "spec.ingress.0.ports.0.port"), port);
    let budget = &documents("kubernetes/base/poddisruptionbudget.yaml")[0];
    assert_eq!(at(budget, "spec.selector.matchLabels"), labels);
    // The image volume has the image of this version, at the path to which the init container would copy it.
    let component = read("kubernetes/image-volume/kustomization.yaml");
    assert!(
        component.contains(concat!("/monitoring-token:", env!("CARGO_PKG_VERSION"), "\n")),
        "{component}"
    );

    let machines = documents("kubernetes/machines-job.yaml");
    let pod = at(&machines[1], "spec.template.spec");
    let (list, file) = volume(pod, variable(pod, "MACHINES").expect("a list"));
    assert_eq!(text(list, "configMap.name"), text(&machines[0], "metadata.name"));
    assert!(at(&machines[0], "data")[file].as_str().is_some(), "no {file} in the list's map");
    let spread = at(pod, "topologySpreadConstraints.0.labelSelector.matchLabels");
    assert_eq!(spread["batch.kubernetes.io/job-name"], machines[1]["metadata"]["name"]);
}

#[test]
fn the_runs_of_a_pod_end_before_its_limits() {
    let seconds = |words: &str, flag: &str| -> Option<i64> {
        let word =
            words.split(|c: char| c.is_whitespace() || c == '"').find_map(|word| word.strip_prefix(flag))?;
        Some(word.strip_suffix('s').expect("seconds").parse().expect("a number"))
    };
    let cron = documents("kubernetes/cronjob.yaml");
    let machines = documents("kubernetes/machines-job.yaml");
    // The time limit of one try, and its steps. The cron job's is for two tries and the pause between them.
    let job = at(&cron[0], "spec.jobTemplate.spec");
    let tries = at(job, "backoffLimit").as_integer().unwrap() + 1;
    let limit = (at(job, "activeDeadlineSeconds").as_integer().unwrap() - 10) / tries;
    let index = at(&machines[1], "spec.template.spec.activeDeadlineSeconds").as_integer().unwrap();
    for (name, limit, pod) in [
        ("cronjob.yaml", limit, at(job, "template.spec")),
        ("machines-job.yaml", index, at(&machines[1], "spec.template.spec")),
    ] {
        let container = at(pod, "containers.0");
        let words: Vec<&str> = ["command", "args"]
            .iter()
            .filter_map(|name| container.as_mapping_get(name)?.as_sequence())
            .flatten()
            .filter_map(Yaml::as_str)
            .collect();
        let words = words.join(" ");
        let (timeout, kill_after) =
            (seconds(&words, "-timeout=").expect("a timeout"), seconds(&words, "-kill-after="));
        assert!(timeout + kill_after.unwrap_or(5) + 15 <= limit, "{name}: {timeout} s in {limit} s");
        // A pod that is told to stop has time to finish its run.
        let grace = at(pod, "terminationGracePeriodSeconds").as_integer().unwrap();
        assert!(kill_after.unwrap_or(5) + 5 <= grace, "{name}");
    }
    // Only 125, which says that the target was not tested, is retried.
    for (spec, action) in [(job, "FailJob"), (&machines[1]["spec"], "FailIndex")] {
        let rule = at(spec, "podFailurePolicy.rules.1");
        assert_eq!(text(rule, "action"), action);
        assert_eq!(text(rule, "onExitCodes.operator"), "NotIn");
        let statuses: Vec<_> = sequence(rule, "onExitCodes.values").iter().map(Yaml::as_integer).collect();
        assert_eq!(statuses, [Some(125)], "{action}");
        assert_eq!(text(spec, "podFailurePolicy.rules.0.onPodConditions.0.type"), "DisruptionTarget");
    }
    // All machines, with limits on concurrency and retries; a machine that fails does not stop the others.
    let spec = &machines[1]["spec"];
    let number = |name: &str| spec[name].as_integer().unwrap_or_else(|| panic!("no {name}"));
    assert!(number("maxFailedIndexes") >= number("completions"));
    let rounds = (number("completions") + number("parallelism") - 1) / number("parallelism");
    assert!(
        rounds * (number("backoffLimitPerIndex") + 1) * index <= number("activeDeadlineSeconds"),
        "{spec:?}"
    );
}

#[test]
fn every_variable_in_the_deployment_files_is_read_by_the_program() {
    let mut known: BTreeSet<String> = cli::main_command()
        .get_arguments()
        .filter_map(|flag| flag.get_env()?.to_str().map(str::to_owned))
        .collect();
    assert!(known.contains("MONITORING_TOKEN_CACHE_TTL"), "{known:?}");
    known.insert("MONITORING_URL".to_owned());
    let all = crate::deploy::files(&repository().join("deploy"));
    for path in all.iter().chain([&repository().join("README.md")]) {
        let text = fs::read_to_string(path).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let ours = |word: &&str| {
            word.starts_with("MONITORING_") || *word == "LOCATE_URL" || word.starts_with("LOGX")
        };
        for word in words.filter(ours) {
            assert!(known.contains(word), "{}: {word}", path.display());
        }
        // All files use the same URL of Locate.
        for (at, _) in text.match_indices("https://locate-dot-PROJECT.appspot.com") {
            let rest = &text[at..];
            let url = rest.split(|c: char| c.is_whitespace() || "\"'`".contains(c)).next().unwrap();
            assert_eq!(
                url,
                "https://locate-dot-PROJECT.appspot.com/v2/platform/monitoring/?early_exit=250&monitoring=true",
                "{}",
                path.display()
            );
        }
    }
}
