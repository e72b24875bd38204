#if arch(x86_64)
  import Glibc
  import Posix

  /// Eight bytes of memory and what a store made of them.
  struct Store: BitwiseCopyable {
    /// In the memory, a multiple of 8.
    let offset: Int
    let word: UInt64
  }

  /// Sees every store of this thread to some memory in the order in which the processor makes them. So it is known what
  /// the memory is like wherever a process is killed.
  ///
  /// The memory can only be read. A store into it faults; then it is let through, and the thread is stopped right behind
  /// it by the processor's trap flag, where what has changed is noted and the memory is closed again. Only processors that
  /// have such a flag for programs can do that.
  enum StoreRecorder {
    private struct Recording {
      let memory: UnsafeMutableRawBufferPointer
      let shadow: UnsafeMutablePointer<UInt64>
      let stores: UnsafeMutablePointer<Store>
      var count = 0
      var formerFault = sigaction()
      var formerTrap = sigaction()
    }

    /// A signal's handler finds it only here. One at a time: see ``turn``.
    nonisolated(unsafe) private static var current: UnsafeMutablePointer<Recording>?
    private static let storesMax = 1 << 16
    nonisolated(unsafe) private static let turn: UnsafeMutablePointer<pthread_mutex_t> = {
      let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
      pthread_mutex_init(mutex, nil)
      return mutex
    }()

    /// The stores that `body` makes into `memory`, which is whole pages.
    static func record(_ memory: UnsafeMutableRawBufferPointer, _ body: () throws -> Void) rethrows -> [Store] {
      pthread_mutex_lock(turn)
      defer { pthread_mutex_unlock(turn) }
      let words = memory.count / 8
      let shadow = UnsafeMutablePointer<UInt64>.allocate(capacity: words)
      let stores = UnsafeMutablePointer<Store>.allocate(capacity: storesMax)
      defer {
        shadow.deallocate()
        stores.deallocate()
      }
      memcpy(shadow, memory.baseAddress!, memory.count)
      var recording = Recording(memory: memory, shadow: shadow, stores: stores)
      return try withUnsafeMutablePointer(to: &recording) { recording in
        current = recording
        install(SIGSEGV, fault, &recording.pointee.formerFault)
        install(SIGTRAP, trap, &recording.pointee.formerTrap)
        close(memory)
        defer {
          mprotect(memory.baseAddress!, memory.count, PROT_READ | PROT_WRITE)
          sigaction(SIGSEGV, &recording.pointee.formerFault, nil)
          sigaction(SIGTRAP, &recording.pointee.formerTrap, nil)
          current = nil
        }
        try body()
        return Array(UnsafeBufferPointer(start: recording.pointee.stores, count: recording.pointee.count))
      }
    }

    private static func close(_ memory: UnsafeMutableRawBufferPointer) {
      mprotect(memory.baseAddress!, memory.count, PROT_READ)
    }

    private typealias Handler =
      @convention(c) (Int32, UnsafeMutablePointer<siginfo_t>?, UnsafeMutableRawPointer?) -> Void

    private static func install(_ signal: Int32, _ handler: @escaping Handler, _ former: inout sigaction) {
      var action = sigaction()
      action.__sigaction_handler.sa_sigaction = handler
      action.sa_flags = SA_SIGINFO
      sigaction(signal, &action, &former)
    }

    private static let fault: Handler = { _, info, context in
      guard let current, let address = info?.pointee._sifields._sigfault.si_addr,
        address >= UnsafeMutableRawPointer(current.pointee.memory.baseAddress!),
        address < current.pointee.memory.baseAddress! + current.pointee.memory.count
      else {
        // Not ours: it comes again, and goes where it would have gone.
        if let current { sigaction(SIGSEGV, &current.pointee.formerFault, nil) }
        return
      }
      mprotect(current.pointee.memory.baseAddress!, current.pointee.memory.count, PROT_READ | PROT_WRITE)
      setTrapFlag(context, true)
    }

    private static let trap: Handler = { _, _, context in
      guard let current else { return }
      setTrapFlag(context, false)
      let words = current.pointee.memory.baseAddress!.assumingMemoryBound(to: UInt64.self)
      for place in 0..<current.pointee.memory.count / 8 where words[place] != current.pointee.shadow[place] {
        current.pointee.shadow[place] = words[place]
        if current.pointee.count == storesMax { abort() }
        current.pointee.stores[current.pointee.count] = Store(offset: place * 8, word: words[place])
        current.pointee.count += 1
      }
      close(current.pointee.memory)
    }

    /// The flags are word 17 of the registers (`REG_EFL`), the trap flag is bit 8 of them.
    private static func setTrapFlag(_ context: UnsafeMutableRawPointer?, _ isSet: Bool) {
      guard let context = context?.assumingMemoryBound(to: ucontext_t.self) else { return }
      withUnsafeMutableBytes(of: &context.pointee.uc_mcontext.gregs) { registers in
        let flags = registers.load(fromByteOffset: 17 * 8, as: UInt64.self)
        registers.storeBytes(of: isSet ? flags | 0x100 : flags & ~0x100, toByteOffset: 17 * 8, as: UInt64.self)
      }
    }
  }
#endif
