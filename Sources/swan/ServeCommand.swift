import ArgumentParser
import Foundation
import Logging
import SwanCheckpoints
import SwanDistributed
import SwanHTTP
import SwanPipelines
import SwanServer
import SwanSystem
import Synchronization
import Torch

/// `swan serve`: restyles live video in the browser.
struct ServeCommand: RankedCommand, LoggedCommand {
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
              SWAN_TOKEN=... swan serve --settings serve.yaml
              swan launch --nproc 2 -- serve

            Each option but the last two may also stand in a YAML file (max-sessions: 4) and in the \
            environment (SWAN_MAX_SESSIONS=4). The command line comes first, then the environment, then \
            the file. The token itself may be in SWAN_TOKEN or in the file's key 'token'.
            """
    )

    @OptionGroup var loading: StreamingModelOptions

    @Option(
        help: ArgumentHelp(
            "Serve on several devices, each with an engine of its own; sessions go to the one with the "
                + "least load.",
            valueName: "cuda:0,cuda:1,..."
        )
    )
    var devices: DeviceNames?

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

    @Flag(help: "Admit sessions although the others then miss their rate.")
    var overcommit = false

    @Option(
        name: .customLong("allow-origin"),
        parsing: .singleValue,
        help: ArgumentHelp(
            "Let web pages of this origin open sessions, and answer under its name; may be given several times.",
            valueName: "https://host"
        )
    )
    var allowedOrigins: [String] = []

    @Option(
        help: ArgumentHelp(
            "Receive OSC messages over UDP; without a host, only from this machine.",
            valueName: "[host:]port"
        )
    )
    var osc: OSCAddress?

    @Option(
        name: .customLong("demo-timeout"),
        parsing: .unconditional,
        help: ArgumentHelp(
            "Disconnect clients of StreamDiffusionV2's protocol that say nothing for so long; 0 for never.",
            valueName: "seconds"
        )
    )
    var demoTimeout = 0.0

    @Option(name: .customLong("log-format"), help: "How the log is written to standard error.")
    var logFormat = LogFormat.text

    var messageFormat: Terminal.Format { logFormat == .json ? .log : .text }

    @Option(name: .customLong("log-level"), help: "The least important messages to log.")
    var logLevel = LogLevel.info

    @Option(help: ArgumentHelp("Read settings from this file.", valueName: "yaml"))
    var settings: String?

    @Flag(
        name: .customLong("print-settings"),
        help: "Print the settings in effect and where each comes from, and exit."
    )
    var printSettings = false
    @OptionGroup var jobOptions: ServeJobOptions
    @OptionGroup var ranked: StagedStreamOptions
    @Option(
        help: ArgumentHelp(
            "What makes the frames: the model, or passthrough, which returns them as they are, to measure "
                + "all else.",
            visibility: .hidden
        )
    )
    var engine = SharedStreams.Engine.model

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard devices == nil || loading.device.name == "auto" else {
            throw ValidationError("--device and --devices cannot both be given")
        }
        guard (0...1_000_000).contains(demoTimeout) else {
            throw ValidationError("--demo-timeout must be 0 to 1000000 seconds, not \(demoTimeout)")
        }
        guard (0...65_535).contains(port) else {
            throw ValidationError("--port must be 0 to 65535, not \(port)")
        }
        guard (1...1_024).contains(maxSessions) else {
            throw ValidationError("--max-sessions must be 1 to 1024, not \(maxSessions)")
        }
        if let wrong = allowedOrigins.first(where: { Origin($0) == nil }) {
            throw ValidationError(
                "--allow-origin \(wrong.printable()) must be an origin like https://example.org:8000"
            )
        }
        let isLocal = Authority(host: host)?.isLoopback ?? false
        guard isLocal || tokenFile != nil || (try? sources.token()) ?? nil != nil else {
            throw ValidationError(
                "--host \(host.printable()) lets other machines connect: add --token-file with a secret, "
                    + "or keep 127.0.0.1 and use an SSH tunnel"
            )
        }
    }

    func run() throws {
        if printSettings { return try StandardOutput.write(sources.text(self)) }
        let log = startLog()
        guard let launch = try Ranks.launch else {
            try ranked.requireNone()
            return try serve(with: nil, log)
        }
        try requireOptionsOfRanks()
        let job = loading.job(on: try launch.device(named: loading.device.name))
        try Ranks.run(job) { world in
            guard let world else { return }
            let ranks = try StagedRanks(world, ranked.staged)
            guard world.rank == 0 else { return try serveRank(ranks) }
            try serve(with: ranks, log)
        }
    }

    /// Serves until a signal comes, alone or with other ranks.
    private func serve(with ranks: StagedRanks?, _ log: Logger) throws {
        var options = try options()
        if ranks == nil {
            try jobOptions.apply(
                to: &options,
                device: engines[0].device.name,
                dtype: loading.dtype
            )
        }
        let isServing = Mutex(false)
        let serving = Mutex<Task<Void, any Error>?>(nil)
        let signals = try StopSignals(
            .init(stopping: "stopping (repeat to stop at once)", abandoned: "stopped"),
            // While the model is loaded, there is nothing to wait for.
            stop: {
                serving.withLock { $0?.cancel() }
                return isServing.withLock { $0 }
            },
            reload: reload(options.http.identity, log),
            abandon: {}
        )
        Engine.sleepWhileWaiting()
        let task = Task { [options] in
            try await serve(options, with: ranks, log) { url in
                isServing.withLock { $0 = true }
                log.notice("open \(url) (Ctrl-C stops)")
            }
        }
        serving.withLock { $0 = task }
        do {
            try waiting(for: task)
        } catch is CancellationError where signals.exitCode != nil {
            // The server was asked to stop, and has.
        }
    }

    private func serve(
        _ options: ServerOptions,
        with ranks: StagedRanks?,
        _ log: Logger,
        onReady: @escaping @Sendable (String) -> Void
    ) async throws {
        let metrics = ServerMetrics(version: options.version)
        let health = ServerHealth(metrics)
        try await RealtimeServer.serve(
            options,
            health: health,
            metrics: metrics,
            log: log,
            load: { [engines] in
                let sessions = try ranks.map { ranks in try join(ranks) }
                return try RealtimeServer(
                    sessions?.model.map { [$0] } ?? Self.load(engines, log),
                    over: sessions,
                    options: options,
                    health: health,
                    metrics: metrics,
                    log: log
                )
            },
            onReady: onReady
        )
    }

    /// How the model is loaded for each engine.
    private var engines: [StreamingModelOptions] {
        (devices?.names ?? [loading.device]).map { name in
            var engine = loading
            engine.device = name
            return engine
        }
    }

    /// Loads the model for each engine; engines on one device share it.
    private static func load(
        _ engines: [StreamingModelOptions],
        _ log: Logger
    ) throws -> [StreamModel] {
        var models: [StreamModel] = []
        for engine in engines {
            let device = try Device(named: engine.device.name)
            if let loaded = models.first(where: { $0.device == device }) {
                models.append(loaded)
            } else {
                let model = try engine.load(engine.checkpoint())
                if models.isEmpty { for note in model.loraNotes { log.warning("\(note)") } }
                models.append(model)
            }
        }
        return models
    }

    /// Where the settings come from.
    private var sources: ServeSettings {
        get throws { try ServeSettings(ServeSettings.ownArguments) }
    }

    private func startLog() -> Logger {
        let log = Logger(label: "swan.serve")
        for message in (try? sources.unknownVariables) ?? [] { log.warning("\(message)") }
        return log
    }

    /// What SIGHUP does: reads the certificate again. Without one in files, it stops the server.
    private func reload(_ identity: TLSIdentity?, _ log: Logger) -> (@Sendable () -> Void)? {
        guard case .reloadable(let certificate) = identity else { return nil }
        return {
            do throws(SwanError) {
                try certificate.reload()
                log.notice("read the certificate again")
            } catch {
                log.error("the certificate stays as it was: \(error)")
            }
        }
    }

    private func options() throws -> ServerOptions {
        // An IPv6 address may be in brackets, as in a URL.
        let address = Authority(host: host)?.host ?? host
        var http = WebServerOptions(host: address, port: port)
        http.allowedOrigins = allowedOrigins.compactMap { Origin($0) }
        if let text = try tokenFile.map({ try SmallFile.text($0) }) ?? sources.token() {
            http.token = try AccessToken(text.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        if let tls { http.identity = try identity(tls) }
        var options = ServerOptions(http: http)
        options.version = SwanVersion.text
        options.limits.sessions = maxSessions
        options.osc = osc
        options.demoTimeout = demoTimeout > 0 ? .seconds(demoTimeout) : nil
        options.limits.overcommits = overcommit
        options.engine = engine
        return options
    }

    private func identity(_ tls: String) throws -> TLSIdentity {
        guard tls != "auto" else {
            let certificate = try SelfSignedCertificate(
                hosts: [Authority(host: host)].compactMap { $0 }.filter { !$0.isWildcard }
            )
            Logger(label: "swan.serve")
                .notice("the certificate's SHA-256 fingerprint is \(certificate.fingerprint)")
            return .selfSigned(certificate)
        }
        let files = tls.split(separator: ",").map(String.init)
        guard files.count == 2 else {
            throw ValidationError(
                "--tls must be 'auto', or a certificate and a key: cert.pem,key.pem"
            )
        }
        return .reloadable(try ReloadableCertificate(certificate: files[0], privateKey: files[1]))
    }
}

extension OSCAddress: ExpressibleByArgument {
    /// Parses the value of `--osc`.
    package init?(argument: String) { self.init(argument) }
}

extension SharedStreams.Engine: ExpressibleByArgument {}
