import Foundation
import Subprocess
import SystemPackage

/// `shell`: runs a program with the step's input on its standard input.
///
/// `with: {command: [program, argument…] or text for /bin/sh -c, directory, environment, max_output_bytes}`.
/// Standard output that is JSON is the output; other text becomes `{"stdout": text}`. An exit code other than 0 fails
/// the step with the end of standard error (class `exit:CODE`, or `signal:NUMBER`). The program leads a process group
/// of its own; when the step is stopped the group gets SIGTERM and, after ``terminationGrace``, SIGKILL.
///
/// Files that the program leaves in the directory that MILLRACE_ARTIFACTS names are kept as the step's artifacts,
/// whether it succeeds or fails; not when it is stopped.
///
/// A batch is one program, with a line of JSON for each step's input on its standard input. It writes a line for each
/// step, `{"output": value}` or `{"error": text, "fatal": true or false}`, or nothing.
public struct ShellHandler: BatchHandler {
    /// How long a program may take to end after SIGTERM.
    public var terminationGrace: Duration
    /// The bound on standard output when the definition sets none. Past it the step fails and the program is killed.
    public var maxOutputBytes: Int

    public init(terminationGrace: Duration = .seconds(5), maxOutputBytes: Int = 1 << 20) {
        self.terminationGrace = terminationGrace
        self.maxOutputBytes = maxOutputBytes
    }

    public func run(_ step: StepContext) async throws -> Output {
        let settings: ShellSettings = try step.sharedSettings()
        let input = step.rawInput ?? Array("null".utf8)
        let artifacts = try ArtifactDirectory(of: step)
        defer { artifacts?.remove() }
        let output: [UInt8]
        do {
            output = try await self.output(settings, input: input, of: step, artifacts: artifacts)
        } catch {
            // They may tell why. Should they not be stored, that is not what the step has failed of.
            do {
                if !Task.isCancelled { try await artifacts?.store() }
            } catch {
                step.log("The artifacts are not kept: \(error)")
            }
            throw error
        }
        try await artifacts?.store()
        return try ShellOutput.output(of: output)
    }

    public func run(_ batch: [StepContext]) async throws -> [Result<Output, any Error>] {
        let settings: ShellSettings = try batch[0].settings()
        let output = try await output(settings, input: batch.inputs(separator: "\n") + Array("\n".utf8), of: batch[0])
        let lines = JSONText.repaired(output).split(whereSeparator: \.isNewline).map(String.init)
        return try BatchAnswer.results(lines, steps: batch.count, from: "shell: \(settings.command.arguments()[0])")
    }

    /// - Returns: what a program that has succeeded wrote to standard output.
    private func output(
        _ settings: ShellSettings,
        input: [UInt8],
        of step: StepContext,
        artifacts: ArtifactDirectory? = nil
    ) async throws -> [UInt8] {
        BrokenPipe.survived
        let arguments = try settings.command.arguments()
        let limit = settings.maxOutputBytes ?? maxOutputBytes
        let result: ExecutionResult<Captured, SequenceOutput, SequenceOutput>
        do {
            result = try await execute(
                arguments,
                settings: settings,
                input: input,
                limit: limit,
                step: step,
                artifacts: artifacts
            )
        } catch let error as SubprocessError {
            throw Self.failure(error, command: arguments[0], settings: settings)
        }
        // What a stopped program said on its way out does not matter.
        try Task.checkCancellation()
        let captured = result.closureResult
        guard !captured.isTooLong else {
            throw HandlerError.fatal(
                "shell: \(arguments[0]) wrote more than \(limit) bytes to standard output and was stopped. "
                    + "Write large results to a file or a table and hand on its name, or raise max_output_bytes.",
                errorClass: "shell:too_large"
            )
        }
        guard result.terminationStatus.isSuccess else {
            throw HandlerError.retriable(
                "shell: \(arguments[0]) \(Self.ending(result.terminationStatus))\(captured.tail.explanation)",
                errorClass: Self.errorClass(result.terminationStatus)
            )
        }
        return captured.output
    }

    private func execute(
        _ arguments: [String],
        settings: ShellSettings,
        input: [UInt8],
        limit: Int,
        step: StepContext,
        artifacts: ArtifactDirectory?
    ) async throws -> ExecutionResult<Captured, SequenceOutput, SequenceOutput> {
        let teardown = [
            TeardownStep.send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: terminationGrace)
        ]
        var options = PlatformOptions()
        options.processGroupID = 0
        options.teardownSequence = teardown
        return try await Subprocess.run(
            arguments[0].contains("/") ? .path(FilePath(arguments[0])) : .name(arguments[0]),
            arguments: Arguments(Array(arguments.dropFirst())),
            environment: .inherit.updating(try settings.variables(artifacts: artifacts)),
            workingDirectory: settings.directory.map { FilePath($0) },
            platformOptions: options,
            input: .inputWriter,
            output: .sequence,
            error: .sequence
        ) { execution in
            // The leader is not reaped before this closure ends, so its number still names this very group.
            let group = execution.processIdentifier.value
            async let writing: Void = Self.write(input, to: execution.standardInputWriter)
            async let tail = OutputTail(reading: execution.standardError, log: StepLog(.stderr, of: step))
            let (output, isTooLong) = try await ShellOutput.read(
                execution.standardOutput,
                limit: limit,
                log: StepLog(.stdout, of: step)
            )
            if isTooLong || Task.isCancelled {
                await execution.teardown(using: teardown)
                // Children that outlived the leader.
                kill(-group, SIGKILL)
            }
            await writing
            return try await Captured(output: output, isTooLong: isTooLong, tail: tail)
        }
    }

    /// A program need not read its input: that it cannot be written, or not all of it, is no error.
    private static func write(_ input: [UInt8], to writer: StandardInputWriter) async {
        _ = try? await writer.write(input)
        try? await writer.finish()
    }

    private static func ending(_ status: TerminationStatus) -> String {
        switch status {
        case .exited(let code): "exited with code \(code)"
        case .signaled(let signal): "was ended by signal \(signal)"
        }
    }

    private static func errorClass(_ status: TerminationStatus) -> String {
        switch status {
        case .exited(let code): "exit:\(code)"
        case .signaled(let signal): "signal:\(signal)"
        }
    }

    private static func failure(_ error: SubprocessError, command: String, settings: ShellSettings) -> HandlerError {
        if error.code == .executableNotFound {
            return .fatal(
                "shell: there is no program \(command) that could be run. "
                    + "Install it on the agent's machine, or name it by its full path.",
                errorClass: "shell:not_found"
            )
        }
        if error.code == .failedToChangeWorkingDirectory {
            return .fatal(
                "shell: the directory \(settings.directory ?? "") does not exist or cannot be entered. "
                    + "Make it on the agent's machine, or name another one.",
                errorClass: "settings"
            )
        }
        return .retriable("shell: \(command) could not be run: \(error)", errorClass: "shell:not_run")
    }
}

/// What a program wrote.
struct Captured: Sendable {
    var output: [UInt8]
    var isTooLong: Bool
    var tail: OutputTail
}
