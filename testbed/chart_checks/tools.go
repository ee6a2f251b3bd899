//go:build tools

// Package checks pins what judges the operator's chart: apart from the testbed's own module, since kube-score is built
// with the Kubernetes libraries that it was released with.
package checks

import (
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "github.com/zegl/kube-score/cmd/kube-score"
)
