package report

import _ "embed" // the published schema

//go:embed fleet.report.v1.schema.json
var schemaText string

// Schema returns the JSON Schema (draft 2020-12) of SchemaName. Its root
// describes the document of [WriteJSON], its $defs/message one line of
// [WriteNDJSON].
func Schema() string { return schemaText }
