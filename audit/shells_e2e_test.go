//go:build e2e

package audit

// everyShell demands that none of the shells is missing; the end-to-end tests
// install them.
const everyShell = true
