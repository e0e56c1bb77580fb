// Copyright: (c) 2026, the flotilla.kubernetes authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"flotilla.kubernetes/bundle/report"
	"k8s.io/component-base/featuregate"
	"k8s.io/kubernetes/cmd/kubeadm/app/features"
)

func main() {
	gates := map[featuregate.Feature]featuregate.FeatureSpec{}
	for name, feature := range features.InitFeatureGates {
		gates[featuregate.Feature(name)] = feature.FeatureSpec
	}
	// Its flags belong to its many subcommands and are nothing that a cluster is configured with.
	report.Component{Flags: map[string]report.Flag{}, FeatureGates: report.Gates(gates)}.Print()
}
