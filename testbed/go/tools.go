//go:build tools

// Package testbed pins, in one go.mod, everything written in Go that the testbed runs, so that what the programs share
// (client-go before all) has one version and is compiled once. The commands named here are built as upstream wrote them;
// those under cmd/ link a program whose main package cannot be built from outside, or only with too much in it.
package testbed

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
	_ "helm.sh/helm/v4/cmd/helm"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
