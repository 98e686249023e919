// Package remediate knows how a control is made true on a host: the plan, the
// transaction on the node, the waves in which hosts are changed, and how to
// roll back. It refuses to know SSH.
package remediate
