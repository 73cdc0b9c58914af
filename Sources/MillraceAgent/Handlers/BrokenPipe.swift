import Glibc

/// What happens when somebody does not read what this process writes to them.
package enum BrokenPipe {
    /// Makes the write fail with EPIPE instead of ending this process, once. An action that the embedding program has
    /// chosen for SIGPIPE stays.
    ///
    /// A handler that does nothing, instead of ignoring the signal, because what is ignored stays so in our children.
    package static let survived: Void = {
        var action = sigaction()
        guard sigaction(SIGPIPE, nil, &action) == 0, action.__sigaction_handler.sa_handler == nil else { return }
        action.__sigaction_handler.sa_handler = passOver
        action.sa_flags = SA_RESTART
        sigaction(SIGPIPE, &action, nil)
    }()
}

/// A function, not a closure: any thread may be the one that is interrupted, and a closure belongs to the actor around it.
private func passOver(_: CInt) {}
