// Copyright: (c) 2026, the flotilla.kubernetes authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"flotilla.kubernetes/bundle/report"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/kubeapiserver/options"
)

func main() {
	component := report.Command(app.NewAPIServerCommand())
	component.Kinds = report.Kinds(legacyscheme.Scheme, apiextensions.Scheme, aggregator.Scheme)
	component.AdmissionPlugins = map[string]bool{}
	off := options.DefaultOffAdmissionPlugins()
	for _, plugin := range options.AllOrderedPlugins {
		component.AdmissionPlugins[plugin] = !off.Has(plugin)
	}
	component.Print()
}
