#!/usr/bin/env bash
# The bare floor: the same cluster as the product makes, by hand, with nothing but podman, ssh, ctr, kubeadm and kubectl.
#
#   floor.sh create NAME CIDR IMAGE BUNDLE FOLDER CONTROL_PLANES WORKERS
#   floor.sh delete NAME
#
# CIDR is a /24 that ends in .0; FOLDER gets keys, configurations and kubectl's output. Runs as root. What does not depend on each other
# runs at once: machines, files, images, and all joins. Nothing is checked, nothing can be repeated and nothing waits longer than it must:
# so fast could a create be that does no more than its work. Each phase is printed with its seconds; the end is that all nodes are Ready.
set -euo pipefail

verb=$1 name=$2
if [[ $verb == delete ]]; then
    podman ps --all --quiet --filter "label=flotilla-floor=$name" | xargs --no-run-if-empty podman rm --force --time 0 --volumes >/dev/null
    podman volume ls --quiet --filter "label=flotilla-floor=$name" | xargs --no-run-if-empty podman volume rm --force >/dev/null
    podman network rm --force "$name" >/dev/null 2>&1 || true
    exit
fi
cidr=$3 image=$4 bundle=$5 folder=$6 control_planes=$7 workers=$8

prefix=${cidr%.0/24}
endpoint=$prefix.3
first=$prefix.10
# Addresses by role; a machine is called after the last number of its address.
cps=() ws=()
for ((i = 0; i < control_planes; i++)); do cps+=("$prefix.$((10 + i))"); done
for ((i = 0; i < workers; i++)); do ws+=("$prefix.$((10 + control_planes + i))"); done
nodes=("${cps[@]}" "${ws[@]}")
case $(uname --machine) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; esac
machine() { echo "$name-${1##*.}"; }
is_worker() { [[ " ${ws[*]} " == *" $1 "* ]]; }

started=$EPOCHREALTIME last=$EPOCHREALTIME
phase() {
    local now=$EPOCHREALTIME
    awk -v name="$1" -v from="$last" -v to="$now" 'BEGIN { printf "%-10s %6.1f s\n", name, to - from }'
    last=$now
}
# Run a function for each address at once; fail when one of them does.
each() {
    local work=$1 pids=() address pid
    shift
    for address in "$@"; do
        "$work" "$address" >"$folder/$work-${address##*.}.log" 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || { tail --lines=20 "$folder/$work"-*.log >&2; return 1; }
    done
}
on() {
    local address=$1
    shift
    ssh -n -F "$folder/ssh.conf" "root@$address" "$@"
}
into() {
    local address=$1
    shift
    ssh -F "$folder/ssh.conf" "root@$address" "$@"
}

# --- machines: as the local cloud makes them
runtime=()
[[ -e /sys/fs/cgroup/cgroup.controllers ]] || runtime=(--runtime runc)
container() {
    local address=$1 volumes=() part
    shift
    for part in "$@"; do
        podman volume create --label "flotilla-floor=$name" "$(machine "$address")-$part" >/dev/null
        volumes+=(--volume "$(machine "$address")-$part:/var/lib/$part")
    done
    if [[ -d /lib/modules ]]; then volumes+=(--volume /lib/modules:/lib/modules:ro); fi
    podman "${runtime[@]}" create --name "$(machine "$address")" --hostname "$(machine "$address")" --label "flotilla-floor=$name" \
        --privileged --systemd=false --env container=podman --cgroupns=private --tmpfs /run --tmpfs /run/lock --tmpfs /tmp \
        --ulimit nofile=20000:20000 --ulimit nproc=30000:30000 --pids-limit -1 --network "$name" --ip "$address" \
        --dns "$prefix.1" --dns-search . --no-hosts "${volumes[@]}" "$image" >/dev/null
}
node() {
    container "$1" containerd kubelet etcd
    local files=$folder/root-${1##*.}
    cp -r "$folder/root" "$files"
    printf '127.0.0.1 localhost\n%s %s\n' "$1" "$(machine "$1")" >"$files/etc/hosts"
    tar --create --owner=root:0 --group=root:0 --directory "$files" etc | podman cp - "$(machine "$1"):/"
    podman start "$(machine "$1")" >/dev/null
    until on "$1" true 2>/dev/null; do :; done
}
load_balancer() {
    container "$1"
    tar --create --owner=root:0 --group=root:0 --directory "$folder/balancer" etc | podman cp - "$(machine "$1"):/"
    podman start "$(machine "$1")" >/dev/null
}
mkdir -p "$folder/root/etc/ssh" "$folder/root/etc/flotilla/authorized_keys" \
    "$folder/balancer/etc/haproxy" "$folder/balancer/etc/systemd/system/multi-user.target.wants"
chmod 0700 "$folder"
ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
ssh-keygen -q -t ed25519 -N '' -f "$folder/root/etc/ssh/ssh_host_ed25519_key"
cp "$folder/key.pub" "$folder/root/etc/flotilla/authorized_keys/root"
echo root >"$folder/root/etc/flotilla/login"
for address in "${nodes[@]}"; do
    echo "$address $(cut -d ' ' -f 1,2 "$folder/root/etc/ssh/ssh_host_ed25519_key.pub")"
done >"$folder/known_hosts"
cat >"$folder/ssh.conf" <<EOF
Host *
    IdentityFile $folder/key
    IdentitiesOnly yes
    UserKnownHostsFile $folder/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    LogLevel ERROR
    ConnectTimeout 2
    ControlMaster auto
    ControlPath $folder/%C
    ControlPersist 60
EOF
ln -sf /usr/lib/systemd/system/haproxy.service "$folder/balancer/etc/systemd/system/multi-user.target.wants/haproxy.service"
{
    cat <<EOF
global
    user haproxy
    group haproxy
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
frontend api
    bind :6443
    default_backend control_planes
backend control_planes
    option httpchk GET /readyz
    http-check expect status 200
    default-server check check-ssl verify none inter 500ms fall 2 rise 2
EOF
    for address in "${cps[@]}"; do echo "    server $(machine "$address") $address:6443"; done
} >"$folder/balancer/etc/haproxy/haproxy.cfg"
podman network create --label "flotilla-floor=$name" --driver bridge --subnet "$cidr" --disable-dns "$name" >/dev/null
each load_balancer "$endpoint" &
balancer=$!
each node "${nodes[@]}"
wait "$balancer"
phase machines

# --- files
mkdir -p "$folder/files/etc/containerd" "$folder/files/etc/systemd/system/kubelet.service.d"
cat >"$folder/files/etc/containerd/config.toml" <<EOF
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["pause_image"])' "$bundle/manifest.json")'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '/usr/local/bin/runc'
  SystemdCgroup = true
EOF
cat >"$folder/files/etc/systemd/system/containerd.service" <<'EOF'
[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
TasksMax=infinity
[Install]
WantedBy=multi-user.target
EOF
cat >"$folder/files/etc/systemd/system/kubelet.service" <<'EOF'
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
StartLimitInterval=0
RestartSec=2
[Install]
WantedBy=multi-user.target
EOF
files() {
    local binaries=(containerd containerd-shim-runc-v2 ctr runc kubeadm kubectl kubelet crictl)
    is_worker "$1" || binaries+=(etcdctl etcdutl)
    tar --create --directory "$bundle/bin/$architecture" "${binaries[@]}" | into "$1" tar --extract --directory /usr/local/bin
    tar --create --directory "$bundle/cni/$architecture" . | into "$1" "mkdir -p /opt/cni/bin && tar --extract --directory /opt/cni/bin"
    tar --create --directory "$folder/files" etc | into "$1" tar --extract --directory /
    on "$1" "sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 &&
        systemctl daemon-reload && systemctl enable --quiet kubelet && systemctl enable --quiet --now containerd"
}
each files "${nodes[@]}"
phase files

# --- images
images() {
    local archive role=control_plane
    if is_worker "$1"; then role=worker; fi
    python3 -c 'import json, sys; [print(i["path"]) for i in json.load(open(sys.argv[1]))["images"] if i["architecture"] == sys.argv[2] and sys.argv[3] in i["roles"]]' \
        "$bundle/manifest.json" "$architecture" "$role" | while read -r archive; do
        into "$1" ctr --namespace=k8s.io images import --local - <"$bundle/$archive"
    done
}
each images "${nodes[@]}"
phase images

# --- init, with secrets that this run made up
random() { od --address-radix=n --format=x1 --read-bytes="$1" /dev/urandom | tr -d ' \n'; }
token=$(random 3).$(random 8) key=$(random 32)
version=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["kubernetes_version"])' "$bundle/manifest.json")
umask 077
cat >"$folder/init.yml" <<EOF
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
certificateKey: $key
bootstrapTokens: [{token: $token, ttl: 1h0m0s}]
localAPIEndpoint: {advertiseAddress: $first}
nodeRegistration: {name: $(machine "$first"), criSocket: "unix:///run/containerd/containerd.sock"}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$version
controlPlaneEndpoint: $endpoint:6443
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
failSwapOn: false
failCgroupV1: false
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
EOF
init() {
    into "$1" "cat > /run/init.yml" <"$folder/init.yml"
    on "$1" kubeadm init --config=/run/init.yml --upload-certs --skip-token-print --skip-certificate-key-print \
        --ignore-preflight-errors=SystemVerification
}
each init "$first"
phase init

# --- network plugin and all joins at once
kubectl() { into "$first" kubectl --kubeconfig=/etc/kubernetes/admin.conf "$@"; }
join() {
    {
        cat <<EOF
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery: {bootstrapToken: {apiServerEndpoint: "$first:6443", token: $token, unsafeSkipCAVerification: true}}
nodeRegistration: {name: $(machine "$1"), criSocket: "unix:///run/containerd/containerd.sock"}
EOF
        if ! is_worker "$1"; then echo "controlPlane: {certificateKey: $key, localAPIEndpoint: {advertiseAddress: $1}}"; fi
    } | into "$1" "cat > /run/join.yml"
    on "$1" kubeadm join --config=/run/join.yml --ignore-preflight-errors=SystemVerification
}
kubectl apply --filename=- <"$bundle/manifests/kube-flannel.yml" >"$folder/flannel.log" &
flannel=$!
if [[ ${#nodes[@]} -gt 1 ]]; then each join "${nodes[@]:1}"; fi
wait "$flannel"
phase joins

kubectl wait --for=condition=Ready --timeout=300s nodes --all >"$folder/ready.log"
phase ready
[[ $(wc -l <"$folder/ready.log") -eq ${#nodes[@]} ]] || { echo "not all nodes joined" >&2; exit 1; }
last=$started phase total
