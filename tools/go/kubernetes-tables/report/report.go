// Copyright: (c) 2026, the flotilla.kubernetes authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package report prints what one component of Kubernetes knows, as JSON.
//
// Each component gets a program of its own: flags and feature gates are registered in variables of the process, so that a
// program with two components in it would show the union of both.
package report

import (
	"encoding"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	// Registers a log format with flags of its own, as the main packages of the components do.
	_ "k8s.io/component-base/logs/json/register"
)

// Flag is a command line flag.
type Flag struct {
	Deprecated string `json:"deprecated,omitempty"`
	Hidden     bool   `json:"hidden,omitempty"`
}

// Gate is a feature gate as it stands in this version.
type Gate struct {
	Stage   string `json:"stage"`
	Default bool   `json:"default"`
	Locked  bool   `json:"locked,omitempty"`
}

// Kind is the life of an API kind in minors; those that the code does not tell are empty.
type Kind struct {
	Introduced  string `json:"introduced,omitempty"`
	Deprecated  string `json:"deprecated,omitempty"`
	Removed     string `json:"removed,omitempty"`
	Replacement string `json:"replacement,omitempty"`
}

// Component is everything that is printed.
type Component struct {
	Flags            map[string]Flag     `json:"flags"`
	FeatureGates     map[string]Gate     `json:"feature_gates"`
	AdmissionPlugins map[string]bool     `json:"admission_plugins,omitempty"`
	Kinds            map[string]Kind     `json:"kinds,omitempty"`
	Configuration    map[string][]string `json:"configuration,omitempty"`
}

// Print writes the component to standard output.
func (c Component) Print() {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(c); err != nil {
		panic(err)
	}
}

// Command returns the flags of a command, hidden and deprecated ones included, and the feature gates of this process.
func Command(command *cobra.Command) Component {
	// As k8s.io/component-base/cli.Run does before it parses: flags of libraries get dashes for underscores.
	command.SetGlobalNormalizationFunc(cliflag.WordSepNormalizeFunc)
	// Cobra adds the flags of the process only now.
	command.InitDefaultHelpFlag()
	return Component{Flags: Flags(command.Flags()), FeatureGates: Gates(utilfeature.DefaultMutableFeatureGate.GetAll())}
}

// Flags returns every flag of a set.
func Flags(set *pflag.FlagSet) map[string]Flag {
	flags := map[string]Flag{}
	set.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "help" {
			flags[flag.Name] = Flag{Deprecated: flag.Deprecated, Hidden: flag.Hidden}
		}
	})
	return flags
}

// Gates returns feature gates by name.
func Gates(all map[featuregate.Feature]featuregate.FeatureSpec) map[string]Gate {
	gates := map[string]Gate{}
	for name, spec := range all {
		stage := string(spec.PreRelease)
		if spec.PreRelease == featuregate.GA {
			stage = "GA"
		}
		gates[string(name)] = Gate{Stage: stage, Default: spec.Default, Locked: spec.LockToDefault}
	}
	return gates
}

// Kinds returns the life of every API kind in the schemes that has one, as "apiVersion Kind".
func Kinds(schemes ...*runtime.Scheme) map[string]Kind {
	kinds := map[string]Kind{}
	for _, scheme := range schemes {
		for kind := range scheme.AllKnownTypes() {
			if kind.Version == runtime.APIVersionInternal || strings.HasSuffix(kind.Kind, "List") {
				continue
			}
			object, err := scheme.New(kind)
			if err != nil {
				panic(err)
			}
			if life := life(object); life != (Kind{}) {
				kinds[name(kind)] = life
			}
		}
	}
	return kinds
}

// The methods that prerelease-lifecycle-gen writes; kube-apiserver decides by the same ones what it still serves.
func life(object runtime.Object) Kind {
	var kind Kind
	if o, ok := object.(interface{ APILifecycleIntroduced() (int, int) }); ok {
		kind.Introduced = minor(o.APILifecycleIntroduced())
	}
	if o, ok := object.(interface{ APILifecycleDeprecated() (int, int) }); ok {
		kind.Deprecated = minor(o.APILifecycleDeprecated())
	}
	if o, ok := object.(interface{ APILifecycleRemoved() (int, int) }); ok {
		kind.Removed = minor(o.APILifecycleRemoved())
	}
	if o, ok := object.(interface {
		APILifecycleReplacement() schema.GroupVersionKind
	}); ok {
		kind.Replacement = name(o.APILifecycleReplacement())
	}
	return kind
}

func minor(major, minor int) string {
	if major == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", major, minor)
}

func name(kind schema.GroupVersionKind) string {
	return kind.GroupVersion().String() + " " + kind.Kind
}

// Fields returns the paths of all fields of a configuration file, e.g. authentication.anonymous.enabled.
func Fields(object any) []string {
	fields := []string{}
	walk(reflect.TypeOf(object), "", &fields)
	return fields
}

var (
	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

func walk(of reflect.Type, prefix string, fields *[]string) {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() == reflect.Slice {
		prefix, of = prefix+"[]", of.Elem()
	}
	pointer := reflect.PointerTo(of)
	if of.Kind() != reflect.Struct || pointer.Implements(marshaler) || pointer.Implements(textMarshaler) {
		return
	}
	for i := range of.NumField() {
		field := of.Field(i)
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported() || tag == "-":
		case strings.Contains(options, "inline"), tag == "" && field.Anonymous:
			walk(field.Type, prefix, fields)
		default:
			path := strings.TrimPrefix(prefix+"."+tag, ".")
			*fields = append(*fields, path)
			walk(field.Type, path, fields)
		}
	}
}
