// Copyright: (c) 2026, the flotilla.kubernetes authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"flotilla.kubernetes/bundle/report"
	"github.com/spf13/pflag"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	configuration "k8s.io/kubelet/config/v1beta1"
	// For what it registers: feature gates and the flags of libraries.
	_ "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
)

func main() {
	// The kubelet's command parses its flags itself and shows none to Cobra: this is how it puts them together.
	set := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	set.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	defaults, err := options.NewKubeletConfiguration()
	if err != nil {
		panic(err)
	}
	options.NewKubeletFlags().AddFlags(set)
	options.AddKubeletConfigFlags(set, defaults)
	options.AddGlobalFlags(set)
	report.Component{
		Flags:        report.Flags(set),
		FeatureGates: report.Gates(utilfeature.DefaultMutableFeatureGate.GetAll()),
		Configuration: map[string][]string{
			configuration.SchemeGroupVersion.String() + " KubeletConfiguration": report.Fields(configuration.KubeletConfiguration{}),
		},
	}.Print()
}
