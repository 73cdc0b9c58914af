import Glibc
import MillraceTestSupport
import Postgres
import Testing

@Suite struct ConnectingTests {
    @Test func nobodyListens() async throws {
        let configuration = PostgresConfiguration(host: "127.0.0.1", port: 1, user: "postgres", password: "geheim")
        let error = try #require(await postgresError { _ = try await Connection.connect(configuration) })
        #expect(error.code == .connectionFailed)
        #expect(error.isRetriable && error.isConnectionLoss)
        #expect(error.description.contains("127.0.0.1") && !error.description.contains("geheim"))
    }

    @Test func aHostThatDoesNotExist() async throws {
        let configuration = PostgresConfiguration(host: "nowhere.invalid")
        let error = try #require(await postgresError { _ = try await Connection.connect(configuration) })
        #expect(error.isConnectionLoss)
        #expect(error.description.contains("nowhere.invalid"))
    }

    @Test func aWrongPassword() async throws {
        let configuration = try await Shared.cluster().configuration(password: "wrong", overTCP: true)
        let error = try #require(await postgresError { _ = try await Connection.connect(configuration) })
        #expect(error.sqlState == "28P01")
        #expect(!error.isRetriable && !error.isConnectionLoss)
        #expect(error.hint == "Check user and password.")
        #expect(!error.description.contains("LOCATION") && !error.description.contains("28P01:  "))
    }

    @Test func theRightPassword() async throws {
        let connection = try await Connection.connect(Shared.cluster().configuration(overTCP: true))
        defer { connection.close() }
        #expect(try await connection.query("select pg_backend_pid()")[0].int32(0) == connection.backendPID)
        #expect(connection.serverVersion >= 150_000)
        #expect(connection.serverSetting("client_encoding") == "UTF8")
    }

    @Test func anUnknownDatabase() async throws {
        let configuration = try await Shared.cluster().configuration(database: "absent")
        let error = try #require(await postgresError { _ = try await Connection.connect(configuration) })
        #expect(error.sqlState == "3D000")
        #expect(!error.isRetriable)
    }

    @Test func aServerThatNeverAnswers() async throws {
        // The kernel accepts the connection, nobody reads it.
        let silent = try SilentServer()
        var configuration = PostgresConfiguration(host: "127.0.0.1", port: silent.port, user: "postgres")
        configuration.connectTimeout = .milliseconds(200)
        let error = try #require(await postgresError { _ = try await Connection.connect(configuration) })
        #expect(error.code == .timeout)
        #expect(error.description.contains("connect_timeout"))
    }

    @Test func aCancelledTaskDoesNotWait() async throws {
        let silent = try SilentServer()
        let configuration = PostgresConfiguration(host: "127.0.0.1", port: silent.port, user: "postgres")
        let task = Task { await postgresError { _ = try await Connection.connect(configuration) } }
        task.cancel()
        #expect(await task.value?.code == .cancelled)
    }

    @Test func configurationsAreReadAsLibpqReadsThem() throws {
        let url = try PostgresConfiguration(
            "postgresql://me:p%40ss@db.example:6543/orders?application_name=shop&connect_timeout=3"
        )
        #expect(url.host == "db.example" && url.port == 6543 && url.user == "me" && url.database == "orders")
        #expect(url.parameters["password"] == "p@ss")
        #expect(url.applicationName == "shop")
        #expect(url.connectTimeout == .seconds(3))
        let pairs = try PostgresConfiguration("host=/run/db port=5433 dbname=x")
        #expect(pairs.host == "/run/db" && pairs.port == 5433 && pairs.database == "x")
    }

    @Test func passwordsAreNeverShown() throws {
        let configuration = try PostgresConfiguration("postgresql://me:geheim@db/x")
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), dumped] {
            #expect(!text.contains("geheim"))
        }
        for text in ["postgresql://me:geheim@db/x?geheim", "host=db password=geheim geheim"] {
            #expect { try PostgresConfiguration(text) } throws: { error in
                (error as? PostgresError)?.code == .invalidConfiguration && !"\(error)".contains("geheim")
            }
        }
    }

    @Test func settingsHoldForTheSession() async throws {
        var configuration = try await Shared.cluster().configuration()
        configuration.settings = ["search_path": "\"a b\", pg_temp", "statement_timeout": "5000"]
        configuration.applicationName = "a name"
        let connection = try await Connection.connect(configuration)
        defer { connection.close() }
        #expect(try await connection.query("show search_path")[0].string(0) == "\"a b\", pg_temp")
        #expect(try await connection.query("show statement_timeout")[0].string(0) == "5s")
        #expect(try await connection.query("show application_name")[0].string(0) == "a name")
    }
}

/// A socket that listens and never says a word.
private final class SilentServer: Sendable {
    let port: Int
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) + listen(descriptor, 8) + getsockname(descriptor, $0, &length)
            }
        }
        guard status == 0 else { throw TestSupportError("No socket: \(String(cString: strerror(errno)))") }
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit { close(descriptor) }
}
