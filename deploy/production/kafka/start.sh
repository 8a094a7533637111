#!/usr/bin/env bash
# Starts a broker of compose.yaml; the first time it formats its log, of which the first user is a part.
set -euo pipefail

readonly PROPERTIES=/tmp/server.properties FORMAT=/tmp/format CLUSTER=bGFrZWhvdXNlLXByb2Qtdg
password=$(cat /run/secrets/KAFKA_SASL_PASSWORD)

umask 077
cp /etc/lakehouse/server.properties "$PROPERTIES"
cat >> "$PROPERTIES" << END
node.id=$KAFKA_NODE_ID
advertised.listeners=SASL_SSL://kafka-$KAFKA_NODE_ID:9092
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="lakehouse" password="$password";
END
# As a file of arguments, which Java reads: every user of the machine may see a command line.
cat > "$FORMAT" << END
kafka.tools.StorageTool format --ignore-formatted --cluster-id $CLUSTER --config $PROPERTIES
--add-scram "SCRAM-SHA-512=[name=lakehouse,password=$password]"
END
/opt/kafka/bin/kafka-run-class.sh "@$FORMAT"
rm "$FORMAT"
exec /opt/kafka/bin/kafka-server-start.sh "$PROPERTIES"
