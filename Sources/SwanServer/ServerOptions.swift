package import SwanHTTP
package import SwanPipelines

/// What `swan serve` offers, and to whom.
package struct ServerOptions: Sendable {
    /// The HTTP server.
    package var http: WebServerOptions
    /// What a client may use of the model.
    package var limits = Limits()
    /// The time after which a silent client of the demo protocol is disconnected; nil for never.
    package var demoTimeout: Duration?
    /// Where OSC messages are received; nil for nowhere.
    package var osc: OSCAddress?
    /// The jobs that the server takes; nil for none.
    package var jobs: JobOptions?
    /// What makes the frames that sessions return.
    package var engine = SharedStreams.Engine.model
    /// The version of the program.
    package var version = ""

    /// Creates options.
    package init(http: WebServerOptions) { self.http = http }

    /// The seconds after which a client that was refused may try again.
    static let retrySeconds = 5

    /// What clients may use of the model.
    package struct Limits: Sendable {
        /// The maximum number of sessions.
        package var sessions = 8
        /// Whether sessions are admitted although others would then miss their rate.
        package var overcommits = false
        /// The maximum number of pixels of an input frame.
        package var inputPixels = 4_096 * 2_304
        /// The maximum number of pixels of an output frame.
        package var outputPixels = 1_280 * 720
        /// The time that a new connection has to start its session.
        package var startTimeout: Duration = .seconds(10)
        /// The time that a session waits for a client whose connection was lost.
        package var reconnectTimeout: Duration = .seconds(30)
        /// The time after which a client that does not read is disconnected.
        package var stallTimeout: Duration = .seconds(10)
        /// The number of wrong messages after which a client is disconnected.
        package var errors = 100

        /// Creates the default limits.
        package init() {}
    }
}
