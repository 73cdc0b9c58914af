import CLibpq
import Glibc
import Synchronization

/// Something that waits for a socket.
protocol SocketOwner: AnyObject, Sendable {
    /// Called on the reactor's thread: must not wait.
    func socketIsReady()
}

/// One thread that waits for the sockets of all connections, and for moments.
///
/// It hands over at the owner's own state, behind the owner's own lock, on its own thread: an answer reaches the task
/// that awaits it with one switch of threads, not two. A task that runs on this executor is reached with none.
final class Reactor: TaskExecutor {
    static let shared = Reactor()

    /// No socket has it.
    private static let bellToken: UInt64 = 0

    private struct Owner {
        weak var value: (any SocketOwner)?
    }

    private let epoll: Int32
    private let lastToken = Atomic<UInt64>(0)
    private let owners = Mutex<[UInt64: Owner]>([:])
    /// Wakes the thread for jobs of others.
    private let bell: Int32
    private let jobs = Mutex<[UnownedJob]>([])
    private let thread = Atomic<UInt>(0)
    private let timers = Mutex(ReactorTimers())

    private init() {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(epoll >= 0, "epoll_create1: \(String(cString: strerror(errno)))")
        bell = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        precondition(bell >= 0, "eventfd: \(String(cString: strerror(errno)))")
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.u64 = Self.bellToken
        let status = epoll_ctl(epoll, EPOLL_CTL_ADD, bell, &event)
        precondition(status == 0, "epoll_ctl: \(String(cString: strerror(errno)))")
        BlockingThread.start { [self] in loop() }
    }

    /// Jobs must be short: answers wait for them.
    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let isFirst = jobs.withLock { jobs in
            jobs.append(job)
            return jobs.count == 1
        }
        if isFirst { wake() }
    }

    /// The thread itself looks at everything before it waits again.
    private func wake() {
        if thread.load(ordering: .relaxed) != UInt(pthread_self()) { _ = eventfd_write(bell, 1) }
    }

    /// Those of now; what they enqueue comes after the next look at the sockets.
    private func runJobs() -> Bool {
        let due = jobs.withLock { jobs in
            defer { jobs = [] }
            return jobs
        }
        for job in due { job.runSynchronously(on: asUnownedTaskExecutor()) }
        return !due.isEmpty
    }

    /// A socket that is watched: by a descriptor of our own, for libpq closes its own as soon as it finds the connection
    /// broken, and whoever opens something next gets that number; and with a name that is never used again.
    final class Registration: Sendable {
        fileprivate let socket: Int32
        fileprivate let token: UInt64
        private let isWriting = Atomic<Bool>(false)
        private let isOver = Atomic<Bool>(false)

        fileprivate init(socket: Int32, token: UInt64) {
            self.socket = socket
            self.token = token
        }

        /// Whether to tell the owner also when the socket can be written. The owner's lock must be held.
        func update(writing: Bool) {
            guard isWriting.exchange(writing, ordering: .relaxed) != writing else { return }
            Reactor.shared.control(EPOLL_CTL_MOD, self, writing: writing)
        }

        /// More than once does no harm. The owner must not ``update(writing:)`` any more.
        func remove() {
            guard !isOver.exchange(true, ordering: .sequentiallyConsistent) else { return }
            Reactor.shared.control(EPOLL_CTL_DEL, self, writing: false)
            _ = Reactor.shared.owners.withLock { $0.removeValue(forKey: token) }
            Glibc.close(socket)
        }
    }

    /// Nil when no descriptor is free.
    func register(_ socket: Int32) -> Registration? {
        let own = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        guard own >= 0 else { return nil }
        return Registration(socket: own, token: lastToken.add(1, ordering: .relaxed).newValue)
    }

    /// Begins to tell the owner, which is not kept alive, when the socket can be read.
    func begin(_ registration: Registration, owner: any SocketOwner) {
        owners.withLock { $0[registration.token] = Owner(value: owner) }
        control(EPOLL_CTL_ADD, registration, writing: false)
    }

    private func control(_ operation: Int32, _ registration: Registration, writing: Bool) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | (writing ? EPOLLOUT.rawValue : 0)
        event.data.u64 = registration.token
        _ = epoll_ctl(epoll, operation, registration.socket, &event)
    }

    // MARK: Timers

    func addTimer(_ handler: @escaping @Sendable () -> Void) -> UInt64 {
        let token = lastToken.add(1, ordering: .relaxed).newValue
        timers.withLock { $0.add(token, handler) }
        return token
    }

    func removeTimer(_ token: UInt64) { timers.withLock { $0.remove(token) } }

    func setTimer(_ token: UInt64, for moment: ContinuousClock.Instant?, unlessEarlier: Bool = false) {
        if timers.withLock({ $0.set(token, for: moment, unlessEarlier: unlessEarlier) }) { wake() }
    }

    /// How long to wait for sockets; nil: until one is ready.
    private func pause() -> timespec? {
        guard let next = timers.withLock({ $0.next }) else { return nil }
        let (seconds, attoseconds) = max(next - .now, .zero).components
        return timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
    }

    private func wait(_ events: inout [epoll_event], isBusy: Bool) -> Int {
        let size = Int32(events.count)
        guard var pause = isBusy ? timespec() : pause() else {
            return Int(epoll_pwait2(epoll, &events, size, nil, nil))
        }
        return Int(epoll_pwait2(epoll, &events, size, &pause, nil))
    }

    private func loop() -> Never {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        var isBusy = false
        while true {
            let count = wait(&events, isBusy: isBusy)
            for index in 0..<max(0, count) {
                let token = events[index].data.u64
                if token == Self.bellToken {
                    var rings: eventfd_t = 0
                    _ = eventfd_read(bell, &rings)
                    continue
                }
                let owner = owners.withLock { $0[token]?.value }
                owner?.socketIsReady()
            }
            for handler in timers.withLock({ $0.takeDue() }) { handler() }
            isBusy = runJobs()
        }
    }
}
