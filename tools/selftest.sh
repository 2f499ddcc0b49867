#!/usr/bin/env bash
# Checks the checks: takes a copy of the tree, breaks one thing at a time and demands that the right check
# fails and says the right word. A check that has never failed proves nothing.
set -euo pipefail

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
modules=$(realpath tools/node_modules)
sdk_modules=$(realpath sdk/typescript/node_modules)

# The work tree as it is, committed or not, without what git ignores (and without files deleted but not committed).
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  tar --null -cf - -T - | tar -xf - -C "$copy"
cd "$copy"
ln -s "$modules" tools/node_modules
ln -s "$sdk_modules" sdk/typescript/node_modules
git init -q .
printf '%s\n' /tools/node_modules /sdk/typescript/node_modules >>.git/info/exclude
git add -A
git -c user.name=selftest -c user.email=selftest@localhost commit -qm whole

passed=0 failed=0
pass() { passed=$((passed + 1)); echo "ok      $1"; }
fail() { failed=$((failed + 1)); echo "FAILED  $1: $2"; tail -n 15 "$copy/.git/log" | sed 's/^/        /'; }

# breaks <what> <check> <word> <how>: after running the shell line <how>, `make check` must fail in <check>
# with <word> in what it prints. $goal narrows what is run.
goal=check
breaks() {
  local what=$1 check=$2 word=$3 how=$4
  if ! bash -euo pipefail -c "$how" >.git/log 2>&1; then
    fail "$what" "could not be broken"
  elif [ -z "$(git status --porcelain)" ]; then
    fail "$what" "breaking it changed nothing"
  elif make $goal >.git/log 2>&1; then
    fail "$what" "make $goal did not notice"
  elif ! grep -q "\*\*\* .*: $check\] Error" .git/log; then
    fail "$what" "it was not $check that failed"
  elif ! grep -q -- "$word" .git/log; then
    fail "$what" "$check failed, but does not speak of $word"
  else
    pass "$what"
  fi
  git reset -q --hard && git clean -qfd
}

# First the other way round: as long as the whole tree does not pass, a failure proves nothing.
if make check-generated check-spec check-typescript check-schema check-layout check-lint check-allocations >.git/log 2>&1; then
  pass "the tree as it is"
else
  fail "the tree as it is" "does not pass"
  echo "0 passed, 1 failed"
  exit 1
fi

query=$(ls db/queries/*.sql | head -n 1)
table=$(sed -n 's/^CREATE TABLE \([a-z_]*\).*/\1/p' db/schema.sql | head -n 1)
# An operation to put before the others; its answers are up to the case.
operation='  /api/selftest:\n    get:\n      operationId: getSelftest\n      summary: Break a rule\n      security: []\n      responses:\n'

breaks "a query was changed, its Go was not" check-generated SelfTest \
  "printf '\n-- name: SelfTest :one\nSELECT 1::int AS one;\n' >>$query"
breaks "the spec was changed, its Go was not" check-generated SelfTest \
  "sed -i 's/^  schemas:.*/&\n    SelfTest: { type: object, properties: { one: { type: string } } }/' api/openapi.yaml"
breaks "generated code was edited" check-generated gen/client \
  "echo '// by hand' >>gen/client/client.gen.go"
breaks "generated code is missing" check-generated gen/db \
  "rm gen/db/models.go"
breaks "generated code was not added to git" check-generated 'not added' \
  "git rm -q --cached gen/db/models.go"

breaks "an operation does not say how it fails" check-spec "has no default" \
  "sed -i \"s|^paths:.*|&\n$operation        '200': { description: Fine. }|\" api/openapi.yaml && make generate"
breaks "an operationId is not camelCase" check-spec operationId \
  "sed -i '0,/operationId: [a-z]/s/\(operationId: \)\([a-z]\)/\1\u\2/' api/openapi.yaml && make generate"
breaks "the spec was changed, its TypeScript was not" check-typescript src/schema.ts \
  "sed -i 's/The conversation has begun/It has begun/' api/openapi.yaml && make generate"
breaks "schema.sql is ahead of the migrations" check-schema self_test \
  "printf '\nALTER TABLE $table ADD CONSTRAINT self_test CHECK (true);\n' >>db/schema.sql"

breaks "a forbidden import" check-layout 'may not import internal/httpapi' \
  "printf 'package chat\n\nimport _ \"parley/internal/httpapi\"\n' >internal/chat/selftest.go"
breaks "a package that is not on the map" check-layout 'not on the map' \
  "mkdir internal/selftest && printf '// Package selftest is new.\npackage selftest\n' >internal/selftest/selftest.go"
breaks "a package of helpers" check-layout util \
  "mkdir internal/util && printf '// Package util helps.\npackage util\n' >internal/util/util.go"
breaks "echo outside httpapi" check-layout labstack/echo \
  "printf 'package fault\n\nimport _ \"github.com/labstack/echo/v4\"\n' >internal/fault/selftest.go"

breaks "an unformatted file" check-lint 'not formatted' \
  "printf 'package fault\n\nvar  _  =  1\n' >internal/fault/selftest.go"
breaks "the environment read inside" check-lint forbidigo \
  "printf 'package fault\n\nimport \"os\"\n\nvar _ = os.Getenv(\"HOME\")\n' >internal/fault/selftest.go"
breaks "an exported name without a comment" check-lint revive \
  "printf 'package fault\n\nvar SelfTest = 1\n' >internal/fault/selftest.go"
breaks "an error nobody looked at" check-lint errcheck \
  "printf 'package fault\n\nimport \"os\"\n\nfunc init() { os.Remove(\"x\") }\n' >internal/fault/selftest.go"

goal=check-spec
spec=api/openapi.yaml
breaks "an answer lacks a property that it had" check-spec 'removed the required property `seq`' \
  "sed -i '/^    SentMessage:/,/^    Timestamp:/ { /^        seq:/d; s/, seq\]/]/ }' $spec"
breaks "a request needs a field that it did not" check-spec 'became required' \
  "sed -i '/^    FaqUpdate:/,/properties:/ s/^      type: object/&\n      required: [answer]/' $spec"
breaks "an operation is gone" check-spec 'removed without deprecation' \
  "sed -i '/^  \/openapi.yaml:/,/^  \/openapi.json:/ { /^  \/openapi.json:/!d }' $spec"
breaks "an operation has another id" check-spec 'operation id' \
  "sed -i 's/operationId: listInboxes\$/operationId: readInboxes/' $spec"
breaks "a schema has another name" check-spec 'removed the schema' \
  "sed -i -E 's/\bStartedConversation\b/BegunConversation/' $spec"
breaks "an answer has a value that it had not" check-spec 'new `away` enum value' \
  "sed -i '/^    Speaker:/,/example/ s/enum: \[user, bot, agent\]/enum: [user, bot, agent, away]/' $spec"
breaks "a breaking change of an earlier version is no excuse" check-spec 'operation id' \
  "sed -i 's/operationId: listInboxes\$/operationId: readInboxes/' $spec &&
   echo '- GET /api/inboxes/ api operation id \`listInboxes\` removed and replaced with \`readInboxes\`' >>CHANGELOG.md"
breaks "an example is wrong" check-spec 'Health' \
  "sed -i '/^    Health:/,/^    Readiness:/ s/example: {status: ok}/example: {status: ill}/' $spec"
breaks "an answer does not tell the request's id" check-spec 'does not promise X-Request-Id' \
  "sed -i '/^    NotFound:/,/content:/ { /X-Request-Id/d }' $spec"
breaks "the changelog does not tell of a release" check-spec 'does not tell of' \
  "sed -i 's/^## 0.1.0/## 0.1/' CHANGELOG.md"
breaks "asyncapi.yaml has another frame" check-spec 'its messages are' \
  "sed -i 's/TypingFrame/StatusFrame/' api/asyncapi.yaml"
# And the other way round: what the changelog says is deliberate passes.
if sed -i 's/operationId: listInboxes$/operationId: readInboxes/' $spec &&
  sed -i 's/^## Unreleased/&\n\n- GET \/api\/inboxes\/ api operation id `listInboxes` removed and replaced with `readInboxes`/' CHANGELOG.md &&
  tools/check-breaking.sh >.git/log 2>&1; then
  pass "a deliberate breaking change"
else
  fail "a deliberate breaking change" "is not let through"
fi
git reset -q --hard

goal=check-allocations
breaks "a hot function allocates more" check-allocations 'jsontext BenchmarkHotClean' \
  "sed -i 's/^func Clean(.*{\$/&\n\tkept = append([][]byte(nil), []byte(nil), make([]byte, 100), make([]byte, 200))/' internal/jsontext/jsontext.go &&
   printf '\n// kept is on the heap.\nvar kept [][]byte\n' >>internal/jsontext/jsontext.go"
breaks "a hot function that nobody has measured" check-allocations 'not in internal/allocations.txt' \
  "printf 'package fault_test\n\nimport \"testing\"\n\nfunc BenchmarkHotNothing(b *testing.B) {\n\tfor b.Loop() {\n\t}\n}\n' >internal/fault/selftest_test.go"
breaks "a benchmark is gone" check-allocations 'was not run' \
  "sed -i 's/BenchmarkHotSign/BenchmarkSign/' internal/secret/bench_test.go"

goal='check-race PACKAGES=./internal/fault'
breaks "a data race" check-race 'DATA RACE' "cat >internal/fault/selftest_test.go <<'GO'
package fault_test

import \"testing\"

func TestRace(*testing.T) {
	n, done := 0, make(chan bool)
	go func() { n++; close(done) }()
	n++
	<-done
}
GO"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
