#!/usr/bin/env bash
# Installs what the tests need where it is missing, then runs all of them. No input, root or not; safe to repeat.
# `O365_AGENT_NIGHTLY=1 tests/run.sh --profile nightly` takes the full sizes of the reliability tests.
set -euo pipefail
cd "$(dirname "$0")/.."

# command:package. vim and sed save drop-ins the way operators do; strace watches the order of fsync and rename.
# openssl, keytool, puttygen and ssh-keygen make the keys and certificates that operators have; tinyproxy, squid and
# microsocks are the proxies that requests go through; node and npm run a certified OAuth server;
# PostgreSQL and PgBouncer carry the tests of agent groups; faketime moves the clock under a running agent.
needed=(vim:vim-tiny strace:strace systemd-analyze:systemd curl:curl openssl:openssl keytool:default-jre-headless
    puttygen:putty-tools ssh-keygen:openssh-client tinyproxy:tinyproxy /usr/sbin/squid:squid microsocks:microsocks
    node:nodejs npm:npm pg_lsclusters:postgresql pgbouncer:pgbouncer faketime:faketime)
missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
    echo "Installing: ${missing[*]}"
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo="sudo"
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

cargo build --workspace --all-targets --locked
cargo test --doc --workspace --locked --quiet
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast "$@"
else
    cargo test --workspace --lib --bins --tests --examples --locked "$@"
fi
