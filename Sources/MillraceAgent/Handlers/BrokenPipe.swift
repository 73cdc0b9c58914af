import Glibc

/// What happens when a program that we started does not read what we write to it.
enum BrokenPipe {
    /// Makes the write fail with EPIPE instead of ending this process, once. An action that the embedding program has
    /// chosen for SIGPIPE stays.
    ///
    /// A handler that does nothing, instead of ignoring the signal, because what is ignored stays so in our children.
    static let survived: Void = {
        var action = sigaction()
        guard sigaction(SIGPIPE, nil, &action) == 0, action.__sigaction_handler.sa_handler == nil else { return }
        action.__sigaction_handler.sa_handler = { _ in }
        action.sa_flags = SA_RESTART
        sigaction(SIGPIPE, &action, nil)
    }()
}
