// Copyright: (c) 2026, the flotilla.kubernetes authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"flotilla.kubernetes/bundle/report"
	configuration "k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/kubernetes/cmd/kube-proxy/app"
)

func main() {
	component := report.Command(app.NewProxyCommand())
	component.Configuration = map[string][]string{
		configuration.SchemeGroupVersion.String() + " KubeProxyConfiguration": report.Fields(configuration.KubeProxyConfiguration{}),
	}
	component.Print()
}
