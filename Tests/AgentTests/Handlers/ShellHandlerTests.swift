import Foundation
import MillraceAgent
import MillraceTestSupport
import Testing

@Suite struct ShellHandlerTests {
    let shell = ShellHandler(terminationGrace: .milliseconds(100))

    private func script(_ text: String) -> String { #"{"command": \#(quoted(text))}"# }

    @Test func jsonOnStandardOutputIsTheOutput() async throws {
        #expect(try await run(shell, with: script("echo ' {\"paid\": true} '")) == .json(#"{"paid": true}"#))
    }

    @Test func otherTextBecomesStdout() async throws {
        #expect(
            try await run(shell, with: #"{"command": ["echo", "hello world"]}"#)
                == .json(#"{"stdout":"hello world\n"}"#)
        )
    }

    @Test func nothingIsNoOutput() async throws {
        #expect(try await run(shell, with: #"{"command": ["true"]}"#) == .none)
    }

    @Test func theInputComesOnStandardInput() async throws {
        #expect(
            try await run(shell, with: #"{"command": ["cat"]}"#, input: #"{"order": 7}"#) == .json(#"{"order": 7}"#)
        )
    }

    @Test func aProgramNeedNotReadALargeInput() async throws {
        let input = quoted(String(repeating: "x", count: 4 << 20))
        #expect(try await run(shell, with: #"{"command": ["true"]}"#, input: input) == .none)
    }

    @Test func argumentsAreNotSeenByAShell() async throws {
        #expect(
            try await run(shell, with: #"{"command": ["echo", "$HOME;`id`"]}"#) == .json(#"{"stdout":"$HOME;`id`\n"}"#)
        )
    }

    @Test func directoryAndEnvironmentAreSet() async throws {
        let settings = #"{"command": "echo \"$PWD $COLOUR\"", "directory": "/tmp", "environment": {"COLOUR": "blue"}}"#
        #expect(try await run(shell, with: settings) == .json(#"{"stdout":"/tmp blue\n"}"#))
    }

    @Test func bytesThatAreNoTextAreRepaired() async throws {
        let output = try await run(shell, with: script(#"printf 'a\377b\000c'"#))
        #expect(output == .json(#"{"stdout":"a\#u{FFFD}b\#u{FFFD}c"}"#))
    }

    // MARK: Failures

    @Test func theExitCodeAndTheEndOfStandardErrorAreTold() async throws {
        let error = try await failure(of: shell, with: script("echo first >&2; echo 'no such order' >&2; exit 3"))
        #expect(error.isRetriable)
        #expect(error.errorClass == "exit:3")
        #expect(error.message == "shell: /bin/sh exited with code 3; standard error says: first\nno such order")
    }

    @Test func aLongStandardErrorIsCut() async throws {
        let error = try await failure(
            of: shell,
            with: script("head -c 10000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1")
        )
        #expect(error.message.hasSuffix("xend"))
        #expect(error.message.utf8.count < 3000)
    }

    @Test func aProgramThatDoesNotExistIsNamed() async throws {
        let error = try await failure(of: shell, with: #"{"command": ["no-such-program-here"]}"#)
        #expect(!error.isRetriable)
        #expect(error.message.contains("no program no-such-program-here"))
    }

    @Test func aPathThatDoesNotExistIsNamed() async throws {
        let error = try await failure(of: shell, with: #"{"command": ["/no/such/program"]}"#)
        #expect(error.message.contains("/no/such/program"))
    }

    @Test func aDirectoryThatDoesNotExistIsNamed() async throws {
        let error = try await failure(of: shell, with: #"{"command": ["true"], "directory": "/no/such/place"}"#)
        #expect(error.message.contains("/no/such/place"))
    }

    @Test(arguments: [
        "{}", #"{"command": []}"#, #"{"command": 7}"#, #"{"command": ["a\u0000b"]}"#,
        #"{"command": ["true"], "environment": {"A=B": "c"}}"#,
    ])
    func badSettingsFailForGood(settings: String) async throws {
        #expect(try await !failure(of: shell, with: settings).isRetriable)
    }

    @Test func aHundredMegabytesAreRefusedAndTheProgramIsStopped() async throws {
        let mark = Mark()
        let error = try await failure(
            of: shell,
            with: script("echo $$ > \(mark.path); exec head -c 100000000 /dev/zero")
        )
        #expect(error.message.contains("more than 1048576 bytes"))
        #expect(try await mark.processIsGone())
    }

    @Test func theBoundCanBeSet() async throws {
        let error = try await failure(of: shell, with: #"{"command": "echo 12345", "max_output_bytes": 5}"#)
        #expect(error.message.contains("more than 5 bytes"))
    }

    // MARK: Being stopped

    @Test func aStoppedProgramGetsTheTimeToEnd() async throws {
        let (mark, end) = (Mark(), Mark())
        let step = Task {
            try await run(
                ShellHandler(terminationGrace: .seconds(60)),
                with: script(
                    "trap 'echo over > \(end.path); exit' TERM; echo $$ > \(mark.path); while :; do sleep 0.01; done"
                )
            )
        }
        try await eventually("the program runs") { mark.text != nil }
        step.cancel()
        _ = await step.result
        #expect(end.text == "over")
        #expect(try await mark.processIsGone())
    }

    @Test func aProgramThatIgnoresSIGTERMIsKilledWithItsChildren() async throws {
        let (mark, child) = (Mark(), Mark())
        let step = Task {
            try await run(
                shell,
                with: script(
                    "trap '' TERM; sleep 1000 & echo $! > \(child.path); echo $$ > \(mark.path); while :; do sleep 1000; done"
                )
            )
        }
        try await eventually("the program runs") { mark.text != nil && child.text != nil }
        step.cancel()
        _ = await step.result
        #expect(try await mark.processIsGone())
        #expect(try await child.processIsGone())
    }

    @Test func aChildLeftBehindDoesNotHoldTheStep() async throws {
        let child = Mark()
        let output = try await run(shell, with: script("sleep 1000 & echo $! > \(child.path); echo done"))
        #expect(output == .json(#"{"stdout":"done\n"}"#))
        kill(try #require(child.text.flatMap { Int32($0) }), SIGKILL)
    }
}

/// A file in which a program says something.
final class Mark: Sendable {
    let path = FileManager.default.temporaryDirectory.appending(path: "millrace-mark-\(UUID())").path

    /// What is written, once the line is whole.
    var text: String? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8), text.hasSuffix("\n") else { return nil }
        return text.trimmingCharacters(in: .newlines)
    }

    /// Waits until the process whose number is written does not run any more.
    func processIsGone() async throws -> Bool {
        let pid = try #require(text.flatMap { Int32($0) })
        try await eventually("process \(pid) ends") {
            guard let status = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return true }
            // Killed, and not yet collected by whoever inherited it.
            return status.split(separator: ")").last?.hasPrefix(" Z") == true
        }
        return true
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
