#!/usr/bin/env bash
# The bare floor of an upgrade: the same cluster brought to the next minor by hand, with nothing but podman, ctr, kubeadm, kubectl,
# etcdctl and HAProxy's own socket, in the same order and with the same gates as the product.
#
#   upgrade_floor.sh NAME BUNDLE FOLDER
#
# NAME is a cluster of the local cloud that serves, BUNDLE the directory of the new version, FOLDER gets the output of every command. Runs
# as root. What the product does at once is done at once. Nothing is checked beforehand, nothing can be repeated, and a gate is left as
# soon as it holds. Each phase is printed with its seconds; the end is that every node runs the new version and all its pods are ready.
set -euo pipefail

name=$1 bundle=$2 folder=$3
mkdir -p "$folder"
case $(uname --machine) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; esac
version=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["kubernetes_version"])' "$bundle/manifest.json")
machines() { podman ps --filter "label=flotilla-cluster=$name" --format '{{.Names}}' | grep "^$name-$1" | sort; }
mapfile -t cps < <(machines control-plane-)
mapfile -t nodes < <(machines '')
mapfile -t ws < <(printf '%s\n' "${nodes[@]}" | grep -v "^$name-control-plane-")
balancer=flotilla-$name-api
is_worker() { [[ $1 != "$name"-control-plane-* ]]; }
address() { podman inspect --format '{{index .Config.Labels "flotilla-address"}}' "$1"; }

started=$EPOCHREALTIME last=$EPOCHREALTIME
phase() {
    local now=$EPOCHREALTIME
    awk -v name="$1" -v from="$last" -v to="$now" 'BEGIN { printf "%-14s %6.1f s\n", name, to - from }'
    last=$now
}
on() {
    local machine=$1
    shift
    podman exec "$machine" "$@" >>"$folder/$machine.log" 2>&1
}
into() {
    local machine=$1
    shift
    podman exec --interactive "$machine" "$@" 2>>"$folder/$machine.log"
}
# A command that may fail while something is on its way, until it holds.
until_holds() {
    local tries=1800
    until "$@"; do
        ((tries--)) || { echo "does not hold: $*" >&2; return 1; }
        sleep 0.2
    done
}

# --- files and images: workers at once, control planes one after another
ahead() {
    local archive role=control_plane
    if is_worker "$1"; then role=worker; fi
    tar --create --directory "$bundle/bin/$architecture" . | into "$1" sh -c 'mkdir -p /var/tmp/new/bin && tar --extract --directory /var/tmp/new/bin'
    tar --create --directory "$bundle/cni/$architecture" . | into "$1" sh -c 'mkdir -p /var/tmp/new/cni && tar --extract --directory /var/tmp/new/cni'
    python3 -c 'import json, sys; [print(i["path"]) for i in json.load(open(sys.argv[1]))["images"] if i["architecture"] == sys.argv[2] and sys.argv[3] in i["roles"]]' \
        "$bundle/manifest.json" "$architecture" "$role" | while read -r archive; do
        into "$1" ctr --namespace=k8s.io images import --local - <"$bundle/$archive" >>"$folder/$1.log"
    done
}
pids=()
(for one in "${cps[@]}"; do ahead "$one"; done) &
pids+=($!)
for one in "${ws[@]}"; do
    ahead "$one" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
phase ahead

# --- the steps
first=${cps[0]}
helper() { if [[ $1 == "$first" ]]; then echo "${cps[1]:-$first}"; else echo "$first"; fi; }
kubectl() {
    local machine=$1
    shift
    podman exec "$machine" kubectl --kubeconfig=/etc/kubernetes/admin.conf --server="https://$(address "$machine"):6443" "$@"
}
etcdctl() {
    local machine=$1 pki=/etc/kubernetes/pki/etcd
    shift
    podman exec "$machine" etcdctl --cacert=$pki/ca.crt --cert=$pki/healthcheck-client.crt --key=$pki/healthcheck-client.key "$@"
}
haproxy() { echo "$1" | podman exec --interactive "$balancer" socat -t 5 - /run/haproxy/admin.sock; }
server_of() { haproxy 'show servers state' | awk -v address="$(address "$1")" '$5 == address { print $4 }'; }
column() { haproxy 'show stat' | awk -F, -v server="$1" -v column="$2" '$1 == "control_planes" && $2 == server { print $column }'; }
restarted() { [[ " $2 " != *" $(podman exec "$1" pidof kube-apiserver) "* ]] && [[ $(kubectl "$1" get --raw=/readyz 2>/dev/null) == ok ]]; }
serving() { [[ $(column "$1" 18) == UP ]]; }
leads() { etcdctl "$1" endpoint status --write-out=json | python3 -c 'import json, sys; s = json.load(sys.stdin)[0]["Status"]; sys.exit(s["leader"] != s["header"]["member_id"])'; }
out_of_service() {
    local server old other
    if leads "$1"; then
        other=$(etcdctl "$(helper "$1")" endpoint status --write-out=json | python3 -c 'import json, sys; print("%x" % json.load(sys.stdin)[0]["Status"]["header"]["member_id"])')
        etcdctl "$1" move-leader "$other" >>"$folder/$1.log" 2>&1
    fi
    server=$(server_of "$1")
    haproxy "set server control_planes/$server state drain; disable health control_planes/$server" >/dev/null
    old=$(podman exec "$1" pidof kube-apiserver)
    podman exec "$1" kill "$old"
    until_holds restarted "$1" "$old"
}
into_service() {
    local server
    server=$(server_of "$1")
    haproxy "enable health control_planes/$server; set server control_planes/$server state ready" >/dev/null
    until_holds serving "$server"
}
runs_new() { [[ $(kubectl "$(helper "$1")" get node "$1" --output='jsonpath={.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}') == "v$version True" ]]; }
ready() {
    kubectl "$1" get pods --all-namespaces --output=json | python3 -c '
import json, sys
pods = json.load(sys.stdin)["items"]
sys.exit(not all(any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", [])) for p in pods))'
}
gate() {
    until_holds runs_new "$1"
    if ! is_worker "$1"; then until_holds kubectl "$1" get --raw=/readyz >/dev/null 2>&1; fi
    until_holds etcdctl "$(helper "$1")" endpoint health --cluster >>"$folder/$1.log" 2>&1
    until_holds ready "$(helper "$1")"
}
drain() { kubectl "$(helper "$1")" drain "$1" --ignore-daemonsets --delete-emptydir-data --timeout=10m >>"$folder/$1.log" 2>&1; }
exchange() {
    on "$1" systemctl stop kubelet
    on "$1" find /var/tmp/new/bin -type f -exec mv -f {} /usr/local/bin/ ';'
    on "$1" find /var/tmp/new/cni -type f -exec mv -f {} /opt/cni/bin/ ';'
    on "$1" systemctl restart containerd
    on "$1" systemctl start kubelet
}
number=0
control_plane() {
    out_of_service "$1"
    on "$1" mv -f /var/tmp/new/bin/kubeadm /usr/local/bin/kubeadm
    if ((number++ == 0)); then
        on "$1" kubeadm upgrade apply "v$version" --yes --ignore-preflight-errors=all
    else
        on "$1" kubeadm upgrade node --ignore-preflight-errors=all
    fi
    drain "$1"
    exchange "$1"
    gate "$1"
    kubectl "$(helper "$1")" uncordon "$1" >>"$folder/$1.log"
    into_service "$1"
}
worker() {
    drain "$1"
    on "$1" mv -f /var/tmp/new/bin/kubeadm /usr/local/bin/kubeadm
    on "$1" kubeadm upgrade node --ignore-preflight-errors=all
    exchange "$1"
    gate "$1"
    kubectl "$first" uncordon "$1" >>"$folder/$1.log"
}

# --- control planes one after another, etcd's leader last; then the network plugin; then the workers one after another
leader=''
for one in "${cps[@]}"; do if leads "$one"; then leader=$one; fi; done
for one in "${cps[@]}"; do [[ $one == "$leader" ]] || control_plane "$one"; done
control_plane "$leader"
phase control-planes
podman exec --interactive "$first" kubectl --kubeconfig=/etc/kubernetes/admin.conf apply --filename=- <"$bundle/manifests/kube-flannel.yml" >"$folder/flannel.log"
until_holds ready "$first"
phase network
for one in "${ws[@]}"; do worker "$one"; done
phase workers
last=$started phase total
