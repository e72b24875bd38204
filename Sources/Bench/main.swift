// The measurements that need no kernel: `scripts/bench` runs them in release.
LookupBench.run()
try ZFileBench.run()
