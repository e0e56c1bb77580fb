// Command vcsim is govmomi's simulator of a vCenter, with what tests of the cloud `vsphere` need besides: faults inside tasks, places
// that are full, clones that take their time, and guests that tell their address, sooner or later.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"

	_ "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Fault is what becomes of the next tasks of a kind instead of what they are to do.
type Fault struct {
	Task    string          `json:"task"`    // how the task's name begins, such as "CloneVm"
	Target  string          `json:"target"`  // of a clone, what its name matches
	Fault   string          `json:"fault"`   // type of the fault, such as "NoDiskSpace"; none only takes its time
	Fields  json.RawMessage `json:"fields"`  // of the fault
	Count   int             `json:"count"`   // so many tasks; 0 is all
	Seconds float64         `json:"seconds"` // real ones that pass before
	After   bool            `json:"after"`   // whether the task does what it is to do all the same
}

// World is what there is besides the simulator.
type World struct {
	sync.Mutex
	model    *simulator.Model
	faults   []*Fault
	capacity map[string]int // id of a host -> machines that fit on it, besides those that there are
	denied   []string       // privileges that nobody has
	unfit    []string       // ids of datastores that fit no storage policy
	silent   float64        // real seconds for which new guests tell no address
	next     uint32         // last part of the next address
	cloning  sync.Mutex
	clone    request // the clone that is asked for now
}

type request struct {
	name, host string
}

func (w *World) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "FlotillaWorld", Value: "world"}
}

// PutObject sees every task before it begins.
func (w *World) PutObject(ctx *simulator.Context, object mo.Reference) {
	if vm, ok := object.(*simulator.VirtualMachine); ok {
		// pyVmomi can not read a machine without these two.
		vm.Runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
		vm.Runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
		vm.Summary.Runtime = vm.Runtime
	}
	task, ok := object.(*simulator.Task)
	if !ok {
		return
	}
	do, asked := task.Execute, w.clone
	clones := strings.HasPrefix(task.Info.Name, "CloneVm")
	task.Execute = func(t *simulator.Task) (types.AnyType, types.BaseMethodFault) {
		fault, after := w.draw(task.Info.Name, asked.name)
		if fault == nil && clones {
			fault = w.full(asked.host)
		}
		if fault != nil && !after {
			return nil, fault
		}
		result, failed := do(t)
		if failed != nil {
			return result, failed
		}
		if clones {
			w.take(asked.host)
			if made, ok := result.(types.ManagedObjectReference); ok {
				go w.tell(made)
			}
		}
		return result, fault
	}
}

func (w *World) UpdateObject(ctx *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	if _, ok := object.(*simulator.VirtualMachine); !ok {
		if _, ok := object.(*mo.VirtualMachine); !ok {
			return
		}
	}
	for _, change := range changes {
		if change.Name == "runtime.powerState" && change.Val == types.VirtualMachinePowerStatePoweredOn {
			go w.tell(object.Reference())
		}
	}
}

func (w *World) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

// draw returns the fault of a task, and whether it is done all the same. What takes its time holds the object that it is about.
func (w *World) draw(name, target string) (types.BaseMethodFault, bool) {
	w.Lock()
	var found *Fault
	for number, rule := range w.faults {
		if !strings.HasPrefix(strings.ToLower(name), strings.ToLower(rule.Task)) {
			continue
		}
		if rule.Target != "" && !regexp.MustCompile(rule.Target).MatchString(target) {
			continue
		}
		found = rule
		if rule.Count > 0 {
			rule.Count--
			if rule.Count == 0 {
				w.faults = append(w.faults[:number:number], w.faults[number+1:]...)
			}
		}
		break
	}
	w.Unlock()
	if found == nil {
		return nil, false
	}
	time.Sleep(time.Duration(found.Seconds * float64(time.Second)))
	if found.Fault == "" {
		return nil, false
	}
	fault, err := makeFault(found.Fault, found.Fields)
	if err != nil {
		log.Print(err)
		return nil, false
	}
	return fault, found.After
}

func makeFault(name string, fields json.RawMessage) (types.BaseMethodFault, error) {
	kind, ok := types.TypeFunc()(name)
	if !ok {
		return nil, fmt.Errorf("there is no fault %s", name)
	}
	made := reflect.New(kind)
	if len(fields) > 0 {
		if err := json.Unmarshal(fields, made.Interface()); err != nil {
			return nil, err
		}
	}
	fault, ok := made.Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%s is no fault", name)
	}
	return fault, nil
}

func (w *World) full(host string) types.BaseMethodFault {
	w.Lock()
	defer w.Unlock()
	if left, ok := w.capacity[host]; ok && left <= 0 {
		return &types.InsufficientMemoryResourcesFault{Unreserved: 0, Requested: 4 << 30}
	}
	return nil
}

func (w *World) take(host string) {
	w.Lock()
	defer w.Unlock()
	if _, ok := w.capacity[host]; ok {
		w.capacity[host]--
	}
}

var fixed = regexp.MustCompile(`"addresses": ?\["([0-9.]+)/`)

// tell lets a guest say its address, as open-vm-tools do: the one that cloud-init was told, or one by DHCP.
func (w *World) tell(ref types.ManagedObjectReference) {
	w.Lock()
	silent := w.silent
	w.Unlock()
	time.Sleep(time.Duration(silent * float64(time.Second)))
	ctx := w.model.Service.Context
	object := ctx.Map.Get(ref)
	vm, ok := object.(*simulator.VirtualMachine)
	if !ok {
		return
	}
	ctx.WithLock(vm, func() {
		if vm.Guest == nil || vm.Guest.IpAddress != "" || vm.Config == nil || vm.Config.Template {
			return
		}
		address := ""
		for _, option := range vm.Config.ExtraConfig {
			value := option.GetOptionValue()
			text, _ := value.Value.(string)
			if value.Key == "guestinfo.metadata" {
				plain, _ := base64.StdEncoding.DecodeString(text)
				if found := fixed.FindSubmatch(plain); found != nil {
					address = string(found[1])
				}
			}
		}
		if address == "" {
			w.Lock()
			w.next++
			address = fmt.Sprintf("10.20.%d.%d", w.next/200, 10+w.next%200)
			w.Unlock()
		}
		guest := *vm.Guest
		guest.IpAddress = address
		guest.ToolsStatus = types.VirtualMachineToolsStatusToolsOk
		guest.ToolsRunningStatus = string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
		guest.GuestState = string(types.VirtualMachineGuestStateRunning)
		guest.Net = []types.GuestNicInfo{{
			Network: "", Connected: true, DeviceConfigId: 4000, IpAddress: []string{address, "fe80::250:56ff:fe00:1"},
		}, {
			Network: "", Connected: true, DeviceConfigId: -1, IpAddress: []string{"10.244.0.1"},
		}}
		ctx.Update(vm, []types.PropertyChange{{Name: "guest", Val: &guest}})
	})
}

type envelope struct {
	Body struct {
		Clone *struct {
			Name string `xml:"name"`
			Spec struct {
				Location struct {
					Host string `xml:"host"`
				} `xml:"location"`
			} `xml:"spec"`
		} `xml:"CloneVM_Task"`
	} `xml:"Body"`
}

// front hands requests on to the simulator, and remembers what is asked of the clone that is asked for.
func (w *World) front(target *url.URL) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ModifyResponse = w.change
	return http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		if bytes.Contains(body, []byte("<CloneVM_Task")) {
			var asked envelope
			if err := xml.Unmarshal(body, &asked); err == nil && asked.Body.Clone != nil {
				w.cloning.Lock()
				defer w.cloning.Unlock()
				w.clone = request{asked.Body.Clone.Name, asked.Body.Clone.Spec.Location.Host}
			}
		}
		proxy.ServeHTTP(writer, r)
	})
}

// change takes out of answers what the simulator grants and finds fit without a look: privileges, and datastores for a storage policy.
func (w *World) change(answer *http.Response) error {
	w.Lock()
	denied, unfit := w.denied, w.unfit
	w.Unlock()
	if len(denied) == 0 && len(unfit) == 0 {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	for _, privilege := range denied {
		granted := regexp.MustCompile(`(<privId>` + regexp.QuoteMeta(privilege) + `</privId>\s*<isGranted>)true`)
		body = granted.ReplaceAll(body, []byte("${1}false"))
	}
	for _, store := range unfit {
		fits := regexp.MustCompile(`<returnval><hub><hubType>Datastore</hubType><hubId>` + regexp.QuoteMeta(store) + `</hubId></hub>.*?</returnval>`)
		body = fits.ReplaceAll(body, nil)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	answer.ContentLength = int64(len(body))
	answer.Header.Del("Content-Length")
	return nil
}

func (w *World) admin(writer http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Lock()
	defer w.Unlock()
	var err error
	switch r.URL.Path {
	case "/faults":
		var rules []*Fault
		if err = json.Unmarshal(body, &rules); err == nil {
			for _, rule := range rules {
				if rule.Fault != "" {
					if _, bad := makeFault(rule.Fault, rule.Fields); bad != nil {
						err = bad
					}
				}
			}
			w.faults = rules
		}
	case "/capacity":
		capacity := map[string]int{}
		err = json.Unmarshal(body, &capacity)
		w.capacity = capacity
	case "/denied":
		err = json.Unmarshal(body, &w.denied)
	case "/unfit":
		err = json.Unmarshal(body, &w.unfit)
	case "/silent":
		err = json.Unmarshal(body, &w.silent)
	case "/delay":
		delay := map[string]int{}
		err = json.Unmarshal(body, &delay)
		// Without this the source of a clone can not be read while it is cloned.
		delay["LockHandoff"] = 0
		simulator.TaskDelay = simulator.DelayConfig{MethodDelay: delay}
	default:
		err = fmt.Errorf("no such thing: %s", r.URL.Path)
	}
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
	}
}

func main() {
	model := simulator.VPX()
	flag.IntVar(&model.Datacenter, "dc", 1, "datacenters")
	flag.IntVar(&model.Cluster, "cluster", 3, "clusters")
	flag.IntVar(&model.ClusterHost, "host", 2, "hosts of a cluster")
	flag.IntVar(&model.Host, "standalone-host", 0, "hosts without a cluster")
	flag.IntVar(&model.Datastore, "ds", 2, "datastores")
	flag.IntVar(&model.Machine, "vm", 1, "machines in each cluster's pool")
	flag.IntVar(&model.Portgroup, "pg", 2, "distributed port groups")
	flag.StringVar(&model.ServiceContent.About.ApiVersion, "api-version", "8.0.3.0", "version that it says it is")
	listen := flag.String("listen", "127.0.0.1:0", "address of the vCenter")
	control := flag.String("control", "127.0.0.1:0", "address for what the test wants")
	ready := flag.String("ready", "", "file that gets both addresses")
	user := flag.String("user", "user", "login")
	password := flag.String("password", "pass", "its password")
	flag.Parse()
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	world := &World{model: model}
	simulator.TaskDelay = simulator.DelayConfig{MethodDelay: map[string]int{"LockHandoff": 0}}
	for _, object := range model.Map().All("VirtualMachine") {
		world.PutObject(model.Service.Context, object)
	}
	model.Map().AddHandler(world)
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*user, *password)}
	server := model.Service.NewServer()
	inner := *server.URL
	inner.Path, inner.User = "", nil
	outer, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	private, err := net.Listen("tcp", *control)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(private, http.HandlerFunc(world.admin))) }()
	if *ready != "" {
		text := fmt.Sprintf("http://%s http://%s", outer.Addr(), private.Addr())
		if err := os.WriteFile(*ready+".new", []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
		if err := os.Rename(*ready+".new", *ready); err != nil {
			log.Fatal(err)
		}
	}
	log.Fatal((&http.Server{Handler: world.front(&inner), BaseContext: func(net.Listener) context.Context { return context.Background() }}).Serve(outer))
}
