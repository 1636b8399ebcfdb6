import ArgumentParser
import Foundation
import Logging
import SwanCheckpoints
import SwanHTTP
import SwanPipelines
import SwanServer
import SwanSystem
import Synchronization
import Torch

/// `swan serve`: restyles live video in the browser.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Restyle live video in the browser.",
        discussion: """
            Open the printed address, start the camera, and choose a style. Several people can connect at \
            once; they share the model. Browsers allow cameras only on localhost and over HTTPS: to reach \
            the server from another machine, use --host, --tls and --token-file, or an SSH tunnel.

            EXAMPLES:
              swan serve
              swan serve --model DIR --device cuda --max-sessions 4
              swan serve --host 0.0.0.0 --tls auto --token-file token.txt
              ssh -L 7860:localhost:7860 SERVER   (then open http://localhost:7860)
            """
    )

    @Option(help: "The name of a bundled model, or a model folder (see 'swan models').")
    var model = BundledModels.names[0]

    @Option(
        help: ArgumentHelp(
            "Use another autoencoder: 'tiny', 'tiny-decoder' or a path (see 'swan stream').",
            valueName: "name or path"
        )
    )
    var vae: String?

    @Option(
        help: ArgumentHelp(
            "Use this streaming configuration instead of the model's stream.yaml.",
            valueName: "yaml"
        )
    )
    var config: String?

    @Option(help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(help: "The dtype to compute in; auto is the best one for the device.")
    var dtype = WeightType.auto

    @Option(help: "The address to listen on; 0.0.0.0 for all, which requires --token-file.")
    var host = "127.0.0.1"

    @Option(parsing: .unconditional, help: "The port to listen on; 0 for any free port.")
    var port = 7860

    @Option(
        help: ArgumentHelp(
            "Serve HTTPS: 'auto' makes a self-signed certificate and prints its fingerprint.",
            valueName: "auto|cert,key"
        )
    )
    var tls: String?

    @Option(
        name: .customLong("token-file"),
        help: ArgumentHelp("Admit only clients with the token in this file.", valueName: "file")
    )
    var tokenFile: String?

    @Option(
        name: .customLong("max-sessions"),
        parsing: .unconditional,
        help: "The maximum number of people at once."
    )
    var maxSessions = 8

    @Option(
        help: ArgumentHelp(
            "What makes the frames: the model, or passthrough, which returns them as they are, to measure "
                + "all else.",
            visibility: .hidden
        )
    )
    var engine = SharedStreams.Engine.model

    func validate() throws {
        guard (0...65_535).contains(port) else {
            throw ValidationError("--port must be 0 to 65535, not \(port)")
        }
        guard (1...1_024).contains(maxSessions) else {
            throw ValidationError("--max-sessions must be 1 to 1024, not \(maxSessions)")
        }
        guard tokenFile != nil || ["127.0.0.1", "::1", "localhost"].contains(host) else {
            throw ValidationError(
                "--host \(host.printable()) lets other machines connect: add --token-file with a secret, "
                    + "or keep 127.0.0.1 and use an SSH tunnel"
            )
        }
    }

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        let log = Logger(label: "swan.serve")
        let options = try options()
        let serving = Mutex<Task<Void, any Error>?>(nil)
        let signals = try StopSignals(
            .init(stopping: "stopping (repeat to stop at once)", abandoned: "stopped"),
            // Before there is a task, there is nothing to wait for.
            stop: {
                serving.withLock { task in
                    task?.cancel()
                    return task != nil
                }
            },
            abandon: {}
        )
        Engine.sleepWhileWaiting()
        let checkpoint = try StreamCheckpoint(model, vae: vae, configuration: config)
        let chosen = try Device(named: device.name)
        let type = dtype.dtype ?? checkpoint.configuration.computeType(on: chosen)
        let server = try RealtimeServer(
            checkpoint.load(type, chosen),
            options: options,
            log: log
        )
        let task = Task {
            try await server.run { url in
                Terminal.standardError.write(kind: .note, "open \(url) (Ctrl-C stops)")
            }
        }
        serving.withLock { $0 = task }
        do {
            try waiting(for: task)
        } catch is CancellationError where signals.exitCode != nil {
            // The server was asked to stop, and has.
        }
    }

    private func options() throws -> ServerOptions {
        var http = WebServerOptions(host: host, port: port)
        if let tokenFile {
            let text = try SmallFile.text(tokenFile).trimmingCharacters(in: .whitespacesAndNewlines)
            http.token = try AccessToken(text)
        }
        if let tls { http.identity = try identity(tls) }
        var options = ServerOptions(http: http)
        options.version = SwanVersion.text
        options.limits.sessions = maxSessions
        options.engine = engine
        return options
    }

    private func identity(_ tls: String) throws -> TLSIdentity {
        guard tls != "auto" else {
            let certificate = try SelfSignedCertificate(
                hosts: [Authority(host: host)].compactMap { $0 }.filter { !$0.isWildcard }
            )
            Terminal.standardError.write(
                kind: .note,
                "the certificate's SHA-256 fingerprint is \(certificate.fingerprint)"
            )
            return .selfSigned(certificate)
        }
        let files = tls.split(separator: ",").map(String.init)
        guard files.count == 2 else {
            throw ValidationError(
                "--tls must be 'auto', or a certificate and a key: cert.pem,key.pem"
            )
        }
        return .files(certificate: files[0], privateKey: files[1])
    }
}

extension SharedStreams.Engine: ExpressibleByArgument {}

/// Blocks until a task has ended; throws its error.
private func waiting(for task: Task<Void, any Error>) throws {
    let done = DispatchSemaphore(value: 0)
    let result = Mutex<Result<Void, any Error>>(.success(()))
    Task {
        let outcome = await task.result
        result.withLock { $0 = outcome }
        done.signal()
    }
    done.wait()
    try result.withLock { $0 }.get()
}
