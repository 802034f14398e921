#!/bin/sh
# Builds the stock Go client as client-go in the folder that is named. Go, its gRPC and its generators are Debian's, unpacked
# in a folder of their own that goes again: nothing is installed, and no root is needed. Nothing is built that was built already.
# go.sh <folder> <python with grpcio-tools>
set -eu
here=$(cd "$(dirname "$0")" && pwd)
proto=$here/../../proto
mkdir -p "$1"
cd "$1"
[ client-go -nt "$here/client.go" ] && [ client-go -nt "$proto/specweave/jobs/v1/jobs.proto" ] && exit
rm -rf go
mkdir -p go/lists/partial go/cache/archives/partial go/debs go/path/src/client
cp "$here/client.go" go/path/src/client/
cd go
go=$PWD
# From wherever this machine has its own packages from, and not older than this release.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | grep -v '^#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > sources.list
: > status
cat > apt.conf <<END
Dir::Etc::sourcelist "$go/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$go/lists";
Dir::State::status "$go/status";
Dir::Cache "$go/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
END
export APT_CONFIG="$go/apt.conf"
apt-get update -qq
(
    cd debs
    apt-get download -qq golang-1.24-go golang-1.24-src golang-google-grpc-dev golang-google-protobuf-dev \
        golang-google-genproto-dev golang-github-golang-protobuf-1-5-dev golang-golang-x-net-dev golang-golang-x-sys-dev \
        golang-golang-x-text-dev protoc-gen-go protoc-gen-go-grpc > /dev/null
)
for deb in debs/*.deb; do dpkg -x "$deb" root; done
mkdir path/src/jobs
package=Mspecweave/jobs/v1/jobs.proto=jobs/specweave/jobs/v1
PATH="$go/root/usr/bin:$PATH" "$2" -m grpc_tools.protoc -I "$proto" --go_out=path/src/jobs --go-grpc_out=path/src/jobs \
    --go_opt=paths=source_relative,$package --go-grpc_opt=paths=source_relative,$package specweave/jobs/v1/jobs.proto
env GO111MODULE=off GOTOOLCHAIN=local GOFLAGS= CGO_ENABLED=0 GOROOT="$go/root/usr/lib/go-1.24" GOCACHE="$go/cache/go" \
    GOPATH="$go/path:$go/root/usr/share/gocode" root/usr/lib/go-1.24/bin/go build -o ../client-go client
rm -rf "$go"
