.DEFAULT_GOAL := help
.PHONY: bench bench-late bench-rules bench-setup bench-shards bench-skew bench-stages bench-trace bench-verify bench-viewers chaos clean contracts demo dev evolve help hostile ledger lint live page parity peak production-test retail runbooks sbom scale screenshots setup spark-setup test tutorial
# Byte code makes every start after the first much faster; some CI environments switch it off.
export PYTHONDONTWRITEBYTECODE :=

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: ## Install all that is needed, once: .venv, Java, Maven, the jars of Apache Kafka
	@bash deploy/setup.sh

demo: setup ## Real flights from Kafka to Gold, every offset accounted for
	.venv/bin/lakehouse demo

# Three workers on two cores: much of the time a test waits for brokers and daemons. A file stays together, for its fixtures' sake.
test: setup ## Run all tests
	.venv/bin/python -m pytest -n 3 --dist loadfile --durations 15

chaos: setup ## Break the platform in FAULTS=100 ways and compare the tables with the oracle
	.venv/bin/python -m tests.chaos --faults $(or $(FAULTS),100) --out benchmarks/results/chaos.json

evolve: setup ## Add a column and promote a major version while EVENTS=1000000 events arrive; nothing is lost, no reader notices
	.venv/bin/python -m tests.evolution --events $(or $(EVENTS),1000000) --out benchmarks/results/evolve.json

ledger: setup ## Post PAYMENTS=1000000 payments while processes are killed for SECONDS=300; the books balance at every version
	.venv/bin/python -m tests.ledger --events $(or $(PAYMENTS),1000000) --seconds $(or $(SECONDS),300) --out benchmarks/results/ledger.json

dev: setup ## Kafka, the sensors and Dagster's UI, until Ctrl-C
	.venv/bin/lakehouse dev

retail: setup ## Deliver one retail world in every way, in 1 and in BATCHES=200 batches; each mart equals its oracle
	.venv/bin/python -m tests.retail --batches $(or $(BATCHES),200) --out benchmarks/results/retail.json

live: setup ## MINUTES=10 of retail at RATE=2000 events a second, five faults one after the other: what was told of them, and was it right?
	.venv/bin/python -m tests.live --minutes $(or $(MINUTES),10) --rate $(or $(RATE),2000) --out benchmarks/results/live.json
	.venv/bin/python -m tests.live.page

peak: setup ## Ten times RATE=2000 events a second for three minutes, then as before: how long until all is as it was?
	.venv/bin/python -m tests.live.peak --rate $(or $(RATE),2000) --out benchmarks/results/peak.json
	.venv/bin/python -m tests.live.page

production-test: setup ## MINUTES=10 of orders and payments at RATE=2000 events a second through the production profile, everything killed once
	@bash tests/production/services/setup.sh
	.venv/bin/python -m pytest tests/production/deploying.py
	.venv/bin/python -m tests.production --minutes $(or $(MINUTES),10) --rate $(or $(RATE),2000) --out benchmarks/results/production.json
	.venv/bin/python -m tests.live.page

runbooks: setup ## Rehearse the runbooks, those among them that kill services of their own
	.venv/bin/python -m pytest tests/runbooks tests/runbooks/with_services.py

page: setup ## The live page in a browser, beside a broker that hangs, too
	.venv/bin/python -m pytest tests/integration/page tests/integration/page/hung_broker.py

hostile: setup ## What each message and batch that was made to do harm takes of CPU and memory
	.venv/bin/python -m tests.unit.security.hostile

sbom: setup ## Write down what the platform is made of: sbom.cdx.json, docs/licences.md
	.venv/bin/python deploy/sbom.py

lint: setup ## Style, types, what is known to be unsafe, and the direction of imports
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/bandit --quiet --configfile pyproject.toml --recursive dagster_project deploy docs/*.py benchmarks
	.venv/bin/basedpyright
	.venv/bin/lint-imports

contracts: setup ## Fail if a contract breaks what it says in the git revision LANDED=HEAD^
	.venv/bin/lakehouse contract check --against $(or $(LANDED),HEAD^)

screenshots: setup ## Take the pictures of the documentation anew; PICTURES="ledger checks": only these
	.venv/bin/python docs/screenshots.py $(PICTURES)

tutorial: setup ## Run the commands of the tutorial and write what they print into its pages; TUTORIAL=--check: compare only
	.venv/bin/python docs/tutorial.py $(TUTORIAL)

bench: setup ## Measure the platform beside its peers, each after a verdict; BENCH=quick: at small sizes, within minutes
ifeq ($(BENCH),quick)
	.venv/bin/python -m benchmarks.bench --quick
else
	.venv/bin/python -m benchmarks.bench
	.venv/bin/python -m benchmarks.charts
endif

bench-verify: setup ## Load ten million events and time `lakehouse verify`
	.venv/bin/python -m benchmarks.verify

bench-trace: setup ## Load ten million events and time `lakehouse trace` for each form of question
	.venv/bin/python -m benchmarks.trace

bench-rules: setup ## CPU for judging five million rows by eight rules, beside a scan of them
	.venv/bin/python -m benchmarks.rules

bench-skew: setup ## Marts over ROWS=3000000 page views with 30 % in one key, beside the same without it
	.venv/bin/python -m benchmarks.skew $(ROWS)

bench-late: setup ## One late row in 30 days of VIEWS=100000 page views a day and 5 regions: what the marts compute, beside all of them
	.venv/bin/python -m benchmarks.late --views $(or $(VIEWS),100000)

bench-viewers: setup ## What it costs ingest that VIEWERS=200 people watch the live page for SECONDS=60; a browser's first look
	.venv/bin/python -m benchmarks.viewers --viewers $(or $(VIEWERS),200) --seconds $(or $(SECONDS),60)

bench-shards: setup ## Bronze of EVENTS=1000000 events by one run, beside two that share the topic
	.venv/bin/python -m benchmarks.shards --events $(or $(EVENTS),1000000)

bench-stages: setup ## What each stage takes of the machine and the store, and what a commit takes the longer the more is there
	.venv/bin/python -m benchmarks.stages

scale: setup ## The tables of docs/scale.md, from what was measured, the price book and published limits
	.venv/bin/python -m benchmarks.scale

spark-setup: setup ## Install PySpark, once: .venv-spark
	@bash deploy/spark/setup.sh

parity: spark-setup ## Every mart by DuckDB and by Spark, from the same input: the same tables, cell for cell
	.venv/bin/python -m pytest tests/parity/examples.py tests/parity/marts.py tests/parity/cluster.py tests/parity/aws.py

bench-setup: setup ## Install what the benchmark's peers need, once: .venv-bench, Spark's jars
	@bash benchmarks/peers/setup.sh

clean: ## Stop Kafka; delete the virtual environments, .lakehouse with all its data, caches, and all jars
	@if [ -x .venv/bin/lakehouse ]; then LAKEHOUSE_HOME=.lakehouse KAFKA_BOOTSTRAP_SERVERS= .venv/bin/lakehouse down || true; fi
	rm -rf .venv .venv-bench .lakehouse deploy/kafka/target deploy/registry/target benchmarks/peers/spark/target .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
