#!/usr/bin/env bash
# Tests the checks: copies the tree, breaks one thing at a time, and requires that the expected
# check fails with the expected message.
set -euo pipefail

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
modules=$(realpath tools/node_modules)
sdk_modules=$(realpath sdk/typescript/node_modules)

# Copy the work tree, including uncommitted changes, without ignored and deleted files.
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  tar --null -cf - -T - | tar -xf - -C "$copy"
cd "$copy"
ln -s "$modules" tools/node_modules
ln -s "$sdk_modules" sdk/typescript/node_modules
git init -q .
printf '%s\n' /tools/node_modules /sdk/typescript/node_modules >>.git/info/exclude
git add -A
git -c user.name=selftest -c user.email=selftest@localhost commit -qm original

passed=0 failed=0
pass() { passed=$((passed + 1)); echo "ok      $1"; }
fail() { failed=$((failed + 1)); echo "FAILED  $1: $2"; tail -n 15 "$copy/.git/log" | sed 's/^/        /'; }

# detects <defect> <check> <message> <command>: after the shell command, `make $goal` must fail in
# <check> and print <message>.
goal=check
detects() {
  local defect=$1 check=$2 message=$3 command=$4
  if ! bash -euo pipefail -c "$command" >.git/log 2>&1; then
    fail "$defect" "the command failed"
  elif [ -z "$(git status --porcelain)" ]; then
    fail "$defect" "the command changed nothing"
  elif make $goal >.git/log 2>&1; then
    fail "$defect" "make $goal succeeded"
  elif ! grep -q "\*\*\* .*: $check\] Error" .git/log; then
    fail "$defect" "another check than $check failed"
  elif ! grep -q -- "$message" .git/log; then
    fail "$defect" "$check failed without printing '$message'"
  else
    pass "$defect"
  fi
  git reset -q --hard && git clean -qfd
}

# The unmodified tree must pass.
if make check-generated check-spec check-typescript check-schema check-layout check-licenses check-lint check-allocations >.git/log 2>&1; then
  pass "unmodified tree"
else
  fail "unmodified tree" "the checks failed"
  echo "0 passed, 1 failed"
  exit 1
fi

query=$(ls db/queries/*.sql | head -n 1)
table=$(sed -n 's/^CREATE TABLE \([a-z_]*\).*/\1/p' db/schema.sql | head -n 1)
# An operation without responses, which the test cases add.
operation='  /api/selftest:\n    get:\n      operationId: getSelftest\n      summary: Break a rule\n      security: []\n      responses:\n'

detects "query changed without make generate" check-generated SelfTest \
  "printf '\n-- name: SelfTest :one\nSELECT 1::int AS one;\n' >>$query"
detects "API document changed without make generate" check-generated SelfTest \
  "sed -i 's/^  schemas:.*/&\n    SelfTest: { type: object, properties: { one: { type: string } } }/' api/openapi.yaml"
detects "generated code edited" check-generated gen/client \
  "echo '// by hand' >>gen/client/client.gen.go"
detects "generated code missing" check-generated gen/db \
  "rm gen/db/models.go"
detects "generated code untracked" check-generated 'not added' \
  "git rm -q --cached gen/db/models.go"
detects "hand-written file below gen/" check-generated 'Only in gen/client' \
  "printf 'package client\n' >gen/client/selftest.go"

detects "operation without default response" check-spec "has no default" \
  "sed -i \"s|^paths:.*|&\n$operation        '200': { description: Fine. }|\" api/openapi.yaml && make generate"
detects "operationId not in camelCase" check-spec operationId \
  "sed -i '0,/operationId: [a-z]/s/\(operationId: \)\([a-z]\)/\1\u\2/' api/openapi.yaml && make generate"
detects "API document changed without make generate-sdk" check-typescript src/schema.ts \
  "sed -i 's/The new conversation\\./A new conversation./' api/openapi.yaml && make generate"
detects "schema.sql ahead of the migrations" check-schema self_test \
  "printf '\nALTER TABLE $table ADD CONSTRAINT self_test CHECK (true);\n' >>db/schema.sql"

detects "forbidden import" check-layout 'internal/chat may not import internal/httpapi' \
  "printf 'package chat\n\nimport _ \"parley/internal/httpapi\"\n' >internal/chat/selftest.go"
detects "package missing in the layout" check-layout 'internal/selftest' \
  "mkdir internal/selftest && printf '// Package selftest is new.\npackage selftest\n' >internal/selftest/selftest.go"
detects "package of helpers" check-layout internal/util \
  "mkdir internal/util && printf '// Package util helps.\npackage util\n' >internal/util/util.go"
detects "echo outside httpapi" check-layout labstack/echo \
  "printf 'package apperr\n\nimport _ \"github.com/labstack/echo/v4\"\n' >internal/apperr/selftest.go"

detects "unformatted file" check-lint 'not formatted' \
  "printf 'package apperr\n\nvar  _  =  1\n' >internal/apperr/selftest.go"
detects "retired phrase" check-lint 'reports whether' \
  "printf 'package apperr\n\n// It tells whether the check works.\n' >internal/apperr/selftest.go"
detects "environment read in an internal package" check-lint forbidigo \
  "printf 'package apperr\n\nimport \"os\"\n\nvar _ = os.Getenv(\"HOME\")\n' >internal/apperr/selftest.go"
detects "exported name without a comment" check-lint revive \
  "printf 'package apperr\n\nvar SelfTest = 1\n' >internal/apperr/selftest.go"
detects "unchecked error" check-lint errcheck \
  "printf 'package apperr\n\nimport \"os\"\n\nfunc init() { os.Remove(\"x\") }\n' >internal/apperr/selftest.go"
detects "unused dependency in e2e/go.mod" check-lint 'github.com/labstack/echo' \
  "cd e2e && go mod edit -require=github.com/labstack/echo/v4@v4.16.0"
detects "unchecked error in e2e" check-lint errcheck \
  "printf 'package harness\n\nimport \"os\"\n\nfunc init() { os.Remove(\"x\") }\n' >e2e/harness/selftest.go"

goal=check-licenses
# replaced copies the source of a linked module into the tree, which the test cases change.
replaced='cp -r "$(go list -m -f "{{.Dir}}" github.com/google/uuid)" selftest && chmod -R u+w selftest &&
  go mod edit -replace github.com/google/uuid=./selftest'
detects "notices edited" check-licenses 'run make notices' \
  "echo 'Another notice.' >>THIRD_PARTY_NOTICES"
detects "linked module without a license" check-licenses 'github.com/google/uuid.*no license' \
  "$replaced && rm selftest/LICENSE"
detects "linked module with a license that is not allowed" check-licenses 'GPL in LICENSE is not allowed' \
  "$replaced && echo 'GNU General Public License, version 3' >selftest/LICENSE"
detects "linked module with an unknown license" check-licenses 'unknown license in LICENSE' \
  "$replaced && echo 'All rights reserved.' >selftest/LICENSE"
detects "embedded assets updated without their license" check-licenses 'which is not linked: update' \
  "sed -i 's/carrierVersion: \"v/carrierVersion: \"v0./' tools/notices/main.go"

goal=check-spec
spec=api/openapi.yaml
detects "response property removed" check-spec 'removed the required property `seq`' \
  "sed -i '/^    SentMessage:/,/^    Timestamp:/ { /^        seq:/d; s/, seq\]/]/ }' $spec"
detects "request field made required" check-spec 'became required' \
  "sed -i '/^    FaqUpdate:/,/properties:/ s/^      type: object/&\n      required: [answer]/' $spec"
detects "operation removed" check-spec 'removed without deprecation' \
  "sed -i '/^  \/openapi.yaml:/,/^  \/openapi.json:/ { /^  \/openapi.json:/!d }' $spec"
detects "operationId changed" check-spec 'operation id' \
  "sed -i 's/operationId: listInboxes\$/operationId: readInboxes/' $spec"
detects "schema renamed" check-spec 'removed the schema' \
  "sed -i -E 's/\bStartedConversation\b/NewConversation/' $spec"
detects "enum value added to a response" check-spec 'new `away` enum value' \
  "sed -i '/^    Speaker:/,/example/ s/enum: \[user, bot, agent\]/enum: [user, bot, agent, away]/' $spec"
detects "breaking change listed for an earlier version" check-spec 'operation id' \
  "sed -i 's/operationId: listInboxes\$/operationId: readInboxes/' $spec &&
   echo '- GET /api/inboxes/ api operation id \`listInboxes\` removed and replaced with \`readInboxes\`' >>CHANGELOG.md"
detects "invalid example" check-spec 'Health' \
  "sed -i '/^    Health:/,/^    Readiness:/ s/example: {status: ok}/example: {status: ill}/' $spec"
detects "response without request id" check-spec 'has no required X-Request-Id' \
  "sed -i '/^    NotFound:/,/content:/ { /X-Request-Id/d }' $spec"
detects "release missing in the changelog" check-spec 'has no section for' \
  "sed -i 's/^## 0.1.0/## 0.1/' CHANGELOG.md"
detects "wrong frame in asyncapi.yaml" check-spec 'messages map' \
  "sed -i 's/TypingFrame/StatusFrame/' api/asyncapi.yaml"
# A breaking change that the changelog lists must pass.
if sed -i 's/operationId: listInboxes$/operationId: readInboxes/' $spec &&
  sed -i 's/^## Unreleased/&\n\n- GET \/api\/inboxes\/ api operation id `listInboxes` removed and replaced with `readInboxes`/' CHANGELOG.md &&
  tools/check-breaking.sh >.git/log 2>&1; then
  pass "deliberate breaking change"
else
  fail "deliberate breaking change" "check-breaking failed"
fi
git reset -q --hard

goal=check-allocations
detects "additional allocation in a hot function" check-allocations 'jsontext BenchmarkHotClean' \
  "sed -i 's/^func Clean(.*{\$/&\n\tretained = append([][]byte(nil), []byte(nil), make([]byte, 100), make([]byte, 200))/' internal/jsontext/jsontext.go &&
   printf '\n// retained forces a heap allocation.\nvar retained [][]byte\n' >>internal/jsontext/jsontext.go"
detects "hot function without a baseline" check-allocations 'not in internal/allocations.txt' \
  "printf 'package apperr_test\n\nimport \"testing\"\n\nfunc BenchmarkHotNothing(b *testing.B) {\n\tfor b.Loop() {\n\t}\n}\n' >internal/apperr/selftest_test.go"
detects "benchmark removed" check-allocations 'was not run' \
  "sed -i 's/BenchmarkHotSign/BenchmarkSign/' internal/secret/bench_test.go"

goal='check-race PACKAGES=./internal/apperr'
detects "data race" check-race 'DATA RACE' "cat >internal/apperr/selftest_test.go <<'GO'
package apperr_test

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
