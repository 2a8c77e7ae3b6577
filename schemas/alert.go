package schemas

import _ "embed"

// AlertSchema is the JSON Schema (draft 2020-12) of the alerts topic's values:
// ECS documents, each one change of an alert. What writes or reads alerts is
// tested against it.
//
//go:embed alert.schema.json
var AlertSchema string
