#!/usr/bin/env bash
# Makes what compose.yaml's services know each other by: an authority, certificates and passwords, in secrets/.
# Whatever is there stays: run it again to add what is missing; delete a file to have it made anew. Needs openssl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
mkdir -p "${1:-secrets}"
cd "${1:-secrets}"

readonly DAYS=825 # as long as clients take a certificate for

# A word that needs no quoting in a URL.
make_password() { [ -s "$1" ] || openssl rand -hex 24 | tr -d '\n' > "$1"; }

write() { [ -s "$1" ] || printf '%s' "$2" > "$1"; }

make_authority() {
  if [ -s ca.pem ] && [ -s ca.key ]; then return; fi
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$DAYS" -subj /CN=lakehouse \
    -keyout ca.key -out ca.pem 2> /dev/null
}

# A certificate of this name, for these hosts.
certify() {
  local name=$1 hosts=$2
  if [ -s "$name.crt" ] && [ -s "$name.key" ]; then return; fi
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2> /dev/null
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$DAYS" -out "$name.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$hosts") 2> /dev/null
  rm "$name.csr"
}

make_authority
certify kafka DNS:kafka-1,DNS:kafka-2,DNS:kafka-3,DNS:localhost
cat kafka.key kafka.crt > kafka.pem # as Kafka wants them
certify postgres DNS:postgres,DNS:localhost
certify cache DNS:cache,DNS:localhost
certify store DNS:store,DNS:localhost
certify registry DNS:schema-registry,DNS:localhost
certify views DNS:exporter,DNS:page,DNS:localhost

for name in KAFKA_SASL_PASSWORD POSTGRES_PASSWORD REDIS_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY LAKEHOUSE_DASHBOARD_TOKEN \
  LAKEHOUSE_METRICS_TOKEN; do
  make_password "$name"
done
write LAKEHOUSE_PSEUDONYM_KEYS "first:$(openssl rand -base64 32)"
write DAGSTER_POSTGRES_URL "postgresql://dagster:$(cat POSTGRES_PASSWORD)@postgres:5432/dagster?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem"
write REDIS_URL "rediss://:$(cat REDIS_PASSWORD)@cache:6379/0"
# Each is mounted into containers, whose users are others; this folder is its owner's alone.
chmod 644 -- *
chmod 600 ca.key
