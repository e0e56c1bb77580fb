// Copyright: (c) 2026, the flotilla.kubernetes authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// probe loads a cluster's API and an application at even rates and says what became of every request.
//
// Open loop: request i is due at t0 + i/rate, whatever became of those before it. One that has no good answer five seconds after it was due has
// failed. It repeats what client-go repeats by itself (429 and 503 with Retry-After, a kept connection that the server closed), and once a
// write that was refused because etcd's leader moved; everything else is a failure at once.
//
// It ends on SIGTERM and then prints one JSON object.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	patience = 5 * time.Second
	objects  = 150 // that are written in turn: as many as become due within the patience, since writes of one object wait for each other
	kept     = 200 // failures that are told one by one
)

type failure struct {
	Kind  string  `json:"kind"`
	At    float64 `json:"at"` // seconds since the epoch
	Error string  `json:"error"`
}

type tally struct {
	Sent           int     `json:"sent"`
	Succeeded      int     `json:"succeeded"`
	Failed         int     `json:"failed"`
	FirstTryErrors int     `json:"first_try_errors"`
	Median         float64 `json:"median_ms"`
	Worst          float64 `json:"worst_ms"`
	took           []float64
}

type book struct {
	sync.Mutex
	kinds    map[string]*tally
	failures []failure
	retries  []failure
	perTen   map[string]int // failures by ten seconds, kind and error
}

func (b *book) of(kind string) *tally {
	if b.kinds[kind] == nil {
		b.kinds[kind] = &tally{}
	}
	return b.kinds[kind]
}

func (b *book) write(kind string, due time.Time, firstTry, final error) {
	b.Lock()
	defer b.Unlock()
	one := b.of(kind)
	one.Sent++
	if firstTry != nil {
		one.FirstTryErrors++
		if len(b.retries) < kept {
			b.retries = append(b.retries, failure{kind, seconds(due), firstTry.Error()})
		}
	}
	if final != nil {
		one.Failed++
		b.perTen[fmt.Sprintf("%s %s: %s", due.Truncate(10*time.Second).Format(time.TimeOnly), kind, alike(final))]++
		if len(b.failures) < kept {
			b.failures = append(b.failures, failure{kind, seconds(due), final.Error()})
		}
		return
	}
	one.Succeeded++
	one.took = append(one.took, float64(time.Since(due).Microseconds())/1000)
}

var addresses = regexp.MustCompile(`[0-9.]+:[0-9]+`)

// alike returns what errors of the same cause have in common.
func alike(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return addresses.ReplaceAllString(err.Error(), "*")
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// request is one kind of request; it returns the answer of one try.
type request struct {
	kind   string
	rate   float64
	client *http.Client
	build  func(context.Context, int) (*http.Request, error)
	done   func(number int, body []byte)
}

type refusal struct {
	status     int
	retryAfter string
	text       string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, r.text) }

func (r *request) try(ctx context.Context, number int) ([]byte, error) {
	one, err := r.build(ctx, number)
	if err != nil {
		return nil, err
	}
	answer, err := r.client.Do(one)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		return nil, &refusal{answer.StatusCode, answer.Header.Get("Retry-After"), strings.TrimSpace(string(body[:min(len(body), 300)]))}
	}
	return body, nil
}

var leaderMoved = regexp.MustCompile(`etcdserver: (leader changed|not leader|request timed out)`)

// again tells whether client-go, or a client that knows etcd, repeats a try, and after which pause.
func again(err error, repeated bool) (time.Duration, bool) {
	answered, ok := err.(*refusal)
	if !ok {
		return 0, false
	}
	if (answered.status == 429 || answered.status == 503) && answered.retryAfter != "" {
		pause, _ := strconv.Atoi(answered.retryAfter)
		return time.Duration(pause) * time.Second, true
	}
	return 100 * time.Millisecond, !repeated && leaderMoved.MatchString(answered.text)
}

func (r *request) ask(b *book, number int, due time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), due.Add(patience))
	defer cancel()
	var first error
	for repeated := false; ; repeated = true {
		body, err := r.try(ctx, number)
		if err == nil {
			if r.done != nil {
				r.done(number, body)
			}
			b.write(r.kind, due, first, nil)
			return
		}
		if first == nil {
			first = err
		}
		pause, repeat := again(err, repeated)
		if !repeat || time.Until(due.Add(patience)) < pause {
			b.write(r.kind, due, first, err)
			return
		}
		time.Sleep(pause)
	}
}

func (r *request) run(b *book, stop <-chan struct{}, all *sync.WaitGroup) {
	defer all.Done()
	began := time.Now()
	for number := 0; ; number++ {
		due := began.Add(time.Duration(float64(number) / r.rate * float64(time.Second)))
		select {
		case <-stop:
			return
		case <-time.After(time.Until(due)):
		}
		all.Add(1)
		go func() {
			defer all.Done()
			r.ask(b, number, due)
		}()
	}
}

type kubeconfig struct {
	server string
	tls    *tls.Config
}

func read(path string) (*kubeconfig, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	field := func(name string) []byte {
		found := regexp.MustCompile(name + `: (\S+)`).FindSubmatch(content)
		if found == nil {
			return nil
		}
		return found[1]
	}
	decoded := func(name string) []byte {
		plain, _ := base64.StdEncoding.DecodeString(string(field(name)))
		return plain
	}
	pair, err := tls.X509KeyPair(decoded("client-certificate-data"), decoded("client-key-data"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(decoded("certificate-authority-data"))
	return &kubeconfig{string(field("server")), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}, nil
}

func client(config *tls.Config, keep bool) *http.Client {
	// A transport writes its protocols into the configuration.
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone(), DisableKeepAlives: !keep, ForceAttemptHTTP2: keep}}
}

// ledger knows the last number that the API took for each object.
type ledger struct {
	sync.Mutex
	acknowledged map[string]int
	seen         map[string]int
}

func (l *ledger) take(into map[string]int, name string, number int) {
	l.Lock()
	defer l.Unlock()
	if into[name] < number {
		into[name] = number
	}
}

// lost returns how many objects hold less than what was acknowledged.
func (l *ledger) lost(held map[string]int) int {
	l.Lock()
	defer l.Unlock()
	count := 0
	for name, number := range l.acknowledged {
		if held[name] < number {
			count++
		}
	}
	return count
}

type object struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Data map[string]string `json:"data"`
	Code int               `json:"code"`
}

func (o *object) number() int {
	number, _ := strconv.Atoi(o.Data["number"])
	return number
}

// list returns the objects and the version from which a watch sees what comes after them.
func list(c *http.Client, url string) (map[string]int, string, error) {
	answer, err := c.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	var found struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []object `json:"items"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return nil, "", err
	}
	held := map[string]int{}
	for _, one := range found.Items {
		held[one.Metadata.Name] = one.number()
	}
	return held, found.Metadata.ResourceVersion, nil
}

// makeObjects creates the objects that are written.
func makeObjects(c *http.Client, maps, label string) error {
	for number := 0; number < objects; number++ {
		metadata := map[string]any{"name": nameOf(label, number), "labels": map[string]string{"probe": label}}
		body, _ := json.Marshal(map[string]any{"metadata": metadata})
		answer, err := c.Post(maps, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != 201 {
			return fmt.Errorf("a ConfigMap could not be made: %s", answer.Status)
		}
	}
	return nil
}

func nameOf(label string, number int) string { return fmt.Sprintf("%s-%d", label, number%objects) }

// watch follows the objects and resumes from the last version that it saw; one that can not be resumed is a gap.
func watch(c *http.Client, url, from string, l *ledger, b *book, stop <-chan struct{}, all *sync.WaitGroup) {
	defer all.Done()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-stop; cancel() }()
	broken := time.Time{}
	for ctx.Err() == nil {
		one, _ := http.NewRequestWithContext(ctx, "GET", url+"&resourceVersion="+from, nil)
		answer, err := c.Do(one)
		if err == nil && answer.StatusCode != 200 {
			answer.Body.Close()
			err = fmt.Errorf("%d", answer.StatusCode)
		}
		if err != nil {
			if broken.IsZero() {
				broken = time.Now()
			} else if time.Since(broken) > patience && ctx.Err() == nil {
				b.write("watch", broken, nil, fmt.Errorf("not resumed within %s: %w", patience, err))
				broken = time.Now()
			}
			time.Sleep(100 * time.Millisecond)
			continue
		}
		broken = time.Time{}
		lines := json.NewDecoder(answer.Body)
		for {
			var event struct {
				Type   string `json:"type"`
				Object object `json:"object"`
			}
			if lines.Decode(&event) != nil {
				break
			}
			if event.Type == "ERROR" {
				b.write("watch", time.Now(), nil, fmt.Errorf("the watch can not be resumed (%d): events were missed", event.Object.Code))
				from = ""
				break
			}
			from = event.Object.Metadata.ResourceVersion
			l.take(l.seen, event.Object.Metadata.Name, event.Object.number())
		}
		answer.Body.Close()
	}
}

func main() {
	path := flag.String("kubeconfig", "", "of the API server behind its load balancer")
	application := flag.String("application", "", "URL of the application; none is asked without")
	namespace := flag.String("namespace", "default", "in which ConfigMaps are written")
	rate := flag.Float64("rate", 100, "requests per second to the API, and as many to the application")
	flag.Parse()

	config, err := read(*path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fresh, long := client(config.tls, false), client(config.tls, true)
	maps := config.server + "/api/v1/namespaces/" + *namespace + "/configmaps"
	label := fmt.Sprintf("probe-%d", os.Getpid())
	selected := maps + "?labelSelector=probe%3D" + label
	var from string
	err = makeObjects(long, maps, label)
	if err == nil {
		_, from, err = list(long, selected)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}

	b := &book{kinds: map[string]*tally{}, perTen: map[string]int{}}
	l := &ledger{acknowledged: map[string]int{}, seen: map[string]int{}}
	get := func(url string) func(context.Context, int) (*http.Request, error) {
		return func(ctx context.Context, _ int) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, "GET", url, nil)
		}
	}
	change := func(ctx context.Context, number int) (*http.Request, error) {
		text := fmt.Sprintf(`{"data":{"number":"%d"}}`, number)
		one, err := http.NewRequestWithContext(ctx, "PATCH", maps+"/"+nameOf(label, number), strings.NewReader(text))
		if err == nil {
			one.Header.Set("Content-Type", "application/merge-patch+json")
		}
		return one, err
	}
	read := config.server + "/api/v1/namespaces/kube-system"
	requests := []*request{
		{"api_new_connection", *rate * 0.4, fresh, get(read), nil},
		{"api_kept_connection", *rate * 0.3, long, get(read), nil},
		{"api_write", *rate * 0.3, long, change, func(number int, _ []byte) { l.take(l.acknowledged, nameOf(label, number), number) }},
	}
	if *application != "" {
		requests = append(requests, &request{"application", *rate, client(nil, false), get(*application), nil})
	}
	stop, unwatch, signals := make(chan struct{}), make(chan struct{}), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	var all, watching sync.WaitGroup
	began := time.Now()
	for _, one := range requests {
		all.Add(1)
		go one.run(b, stop, &all)
	}
	watching.Add(1)
	go watch(client(config.tls, true), selected+"&watch=1", from, l, b, unwatch, &watching)
	fmt.Println("ready")
	<-signals
	spent := time.Since(began).Seconds()
	close(stop)
	all.Wait()
	// What was written last is to be seen by the watch.
	time.Sleep(time.Second)
	close(unwatch)
	watching.Wait()
	finish(b, l, long, selected, spent)
}

func finish(b *book, l *ledger, c *http.Client, url string, spent float64) {
	// Without an answer everything that was written counts as lost.
	held, _, _ := list(c, url)
	lost, unseen := l.lost(held), l.lost(l.seen)
	if one, err := http.NewRequest("DELETE", url, nil); err == nil {
		if answer, err := c.Do(one); err == nil {
			answer.Body.Close()
		}
	}
	failed, repeated := 0, 0
	for _, one := range b.kinds {
		failed, repeated = failed+one.Failed, repeated+one.FirstTryErrors-one.Failed
		sort.Float64s(one.took)
		if len(one.took) > 0 {
			one.Median, one.Worst = one.took[len(one.took)/2], one.took[len(one.took)-1]
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"seconds": spent, "kinds": b.kinds, "failures": b.failures, "repeated": b.retries, "per_ten_seconds": b.perTen,
		"failed_requests": failed, "first_try_errors": max(repeated, 0), "lost_writes": lost, "unseen_writes": unseen,
	})
}
