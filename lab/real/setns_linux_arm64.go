package real

// sysSetns is the number of setns(2), which package syscall does not name.
const sysSetns = 268
