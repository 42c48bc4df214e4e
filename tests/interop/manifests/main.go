// Reads Kubernetes manifests as the programs that they are for do: the Prometheus operator's resources are decoded
// strictly into its own types, and each pod is held against Pod Security "restricted" by the code of its admission
// controller. Usage: manifests FILE...
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

var seen = map[string]int{}

// strict decodes a document into its type, and refuses fields that the type does not have.
func strict[T any](document []byte) (*T, error) {
	value := new(T)
	return value, yaml.UnmarshalStrict(document, value)
}

func restricted(evaluator policy.Evaluator, template corev1.PodTemplateSpec) error {
	level := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
		if !result.Allowed {
			return fmt.Errorf("Pod Security: %s (%s)", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	seen["pod"]++
	return nil
}

func check(evaluator policy.Evaluator, document []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	seen[kind.Kind]++
	var err error
	switch kind.APIVersion + "/" + kind.Kind {
	case "monitoring.coreos.com/v1/ServiceMonitor":
		_, err = strict[monitoringv1.ServiceMonitor](document)
	case "monitoring.coreos.com/v1/Probe":
		_, err = strict[monitoringv1.Probe](document)
	case "monitoring.coreos.com/v1/PrometheusRule":
		_, err = strict[monitoringv1.PrometheusRule](document)
	case "monitoring.coreos.com/v1alpha1/ScrapeConfig":
		_, err = strict[monitoringv1alpha1.ScrapeConfig](document)
	case "apps/v1/StatefulSet":
		var set *appsv1.StatefulSet
		if set, err = strict[appsv1.StatefulSet](document); err == nil {
			err = restricted(evaluator, set.Spec.Template)
		}
	case "batch/v1/CronJob":
		var job *batchv1.CronJob
		if job, err = strict[batchv1.CronJob](document); err == nil {
			err = restricted(evaluator, job.Spec.JobTemplate.Spec.Template)
		}
	case "batch/v1/Job":
		var job *batchv1.Job
		if job, err = strict[batchv1.Job](document); err == nil {
			err = restricted(evaluator, job.Spec.Template)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind.Kind, err)
	}
	return nil
}

func main() {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		panic(err)
	}
	failed := false
	for _, name := range os.Args[1:] {
		content, err := os.ReadFile(name)
		reader := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(content)))
		buffer := make([]byte, len(content)+1)
		for err == nil {
			var length int
			if length, err = reader.Read(buffer); err == nil {
				err = check(evaluator, buffer[:length])
			}
		}
		if !errors.Is(err, io.EOF) {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			failed = true
		}
	}
	fmt.Println(seen)
	if failed {
		os.Exit(1)
	}
}
