package lab

// Places are directories of a node, absolute, with all below them.
type Places []string

// modesCount tells whether file modes have to count for root as well.
func (n *node) modesCount() bool { return false }
