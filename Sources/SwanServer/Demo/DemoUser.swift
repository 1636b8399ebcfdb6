import Foundation
import Logging
import NIOCore
import SwanCheckpoints
import SwanHTTP
import SwanPipelines
import SwanSystem

/// A user of the demo protocol: a connection, the session that its frames go to, and those who watch.
///
/// The session begins with the first frame, when the prompt is known. A camera is asked for frames at the
/// model's rate, and the newest win. Of an upload, all frames wait until the session takes them.
actor DemoUser {
    /// Why a user cannot go on.
    enum Problem: Error {
        case full
        case failed(String)
    }

    private let registry: SessionRegistry
    private let connection: WebSocketConnection
    private let size: (width: Int, height: Int)
    private let log: Logger
    /// The place until the session has it.
    private var reservation: SessionRegistry.Reservation?
    private var session: LiveSession?
    private var relay: Task<Void, Never>?
    private var parameters: DemoParameters
    private var sequence: UInt32 = 0, event: UInt32 = 0
    private var viewers: [Outbox] = []
    private var upload = DemoUpload()
    private var feeder: Task<Void, Never>?
    private var isPaused = false, hasEnded = false
    /// The request for a frame that is due, and when the last one was sent.
    private var asking: Task<Void, Never>?
    private var lastAsked: ContinuousClock.Instant?
    private(set) var latencies = DemoLatencies()

    init(
        _ connection: WebSocketConnection,
        _ reservation: SessionRegistry.Reservation,
        _ registry: SessionRegistry,
        size: (width: Int, height: Int),
        prompt: String,
        log: Logger
    ) {
        self.connection = connection
        self.reservation = reservation
        self.registry = registry
        self.size = size
        self.log = log
        parameters = DemoParameters()
        parameters.prompt = prompt
    }

    private var framesPerSecond: Double { registry.host.model.configuration.fps ?? 16 }

    /// The shortest time between two frames that are shown: somewhat less than that between their input frames.
    nonisolated var displayInterval: Duration {
        .seconds(0.8 / (registry.host.model.configuration.fps ?? 16))
    }

    /// Whether the user has a session.
    var isStarted: Bool { session != nil }

    /// The frames that the session or the upload has not returned yet.
    var framesUnderway: Int { (session?.framesUnderway ?? 0) + upload.count }

    // MARK: - Frames in

    /// Whether a picture follows these parameters.
    func expectsPicture(_ new: DemoParameters) -> Bool { !(new.isUpload && upload.isComplete) }

    /// Takes a frame and its parameters.
    func take(
        _ new: DemoParameters,
        _ picture: [UInt8],
        milliseconds: Double
    ) async throws {
        try await use(new)
        guard !isPaused else { return }
        let frame = SharedFrame(
            sequence: sequence,
            captureTime: UInt64(min(max(milliseconds * 1_000, 0), 1e18)),
            jpeg: picture,
            maxPixels: registry.limits.inputPixels
        )
        sequence &+= 1
        guard new.isUpload else {
            _ = session?.put(frame)
            try await send(.wait)
            return askLater()
        }
        upload.add(frame, bytes: picture.count)
        feed()
        askLater()
        // A client that does not wait to be asked is not read while there is no room.
        while upload.isFull, !hasEnded { try await Task.sleep(for: .milliseconds(20)) }
    }

    /// Applies parameters; starts the session if there is none.
    func use(_ new: DemoParameters) async throws {
        let filled = new.filled(from: parameters)
        if filled.isUpload != parameters.isUpload { upload = DemoUpload() }
        if let session {
            let most = registry.host.model.configuration.steps.count
            if var change = filled.change(from: parameters, maxSteps: most) {
                event &+= 1
                change.event = event
                session.change(change, isPaused: nil)
            }
        } else {
            try await start(filled)
        }
        parameters = filled
    }

    /// Ends an upload: what is left of it is restyled, and the session ends.
    func completeUpload() {
        upload.isComplete = true
        feed()
    }

    /// Stops asking for frames and forgets the past.
    func pause() {
        isPaused = true
        asking?.cancel()
        asking = nil
        upload = DemoUpload()
        var change = StreamChange()
        change.resets = true
        event &+= 1
        change.event = event
        session?.change(change, isPaused: nil)
    }

    /// Asks for frames again.
    func resume() async throws {
        isPaused = false
        upload.isComplete = false
        try await ask()
    }

    /// Frees the place of a user who has not started. A start that is under way has the place already.
    func releasePlace() {
        reservation?.release()
        reservation = nil
    }

    /// Ends everything; the connection is gone.
    func end() {
        hasEnded = true
        asking?.cancel()
        feeder?.cancel()
        session?.end()
        reservation?.release()
        for viewer in viewers { viewer.close() }
        viewers = []
    }

    // MARK: - The session

    private func start(_ parameters: DemoParameters) async throws {
        let registry = registry
        let place: SessionRegistry.Reservation
        do {
            let demand = StreamDemand.least(of: registry.host.model)
            place = try reservation ?? registry.reserve(demand)
        } catch {
            throw Problem.full
        }
        reservation = nil
        var change = StreamChange()
        change.prompts = parameters.prompt.map { [.init($0)] }
        change.steps = parameters.steps.map {
            min($0, registry.host.model.configuration.steps.count)
        }
        (change.noiseScale, change.seed) = (parameters.noiseScale, parameters.seed)
        var message = StartMessage(change, framesPerSecond: framesPerSecond, source: nil)
        (message.settings.width, message.settings.height) = (size.width, size.height)
        let start = message
        let started: LiveSession
        do {
            started = try await onThread { try registry.start(start, place).session }
        } catch {
            throw Problem.failed(MessageError(error).message)
        }
        guard !hasEnded else { return started.end() }
        session = started
        let outbox = Outbox(frameCapacity: 4 * registry.host.framesPerChunk)
        started.attach(outbox)
        relay = Task { await pass(outbox, of: started) }
    }

    /// Passes what a session gives to those who watch, until it ends.
    private func pass(_ outbox: Outbox, of session: LiveSession) async {
        var hasFailed = false
        while let item = await outbox.next() {
            switch item {
            case .frame(let frame):
                latencies.add(frame)
                for viewer in viewers { viewer.put([frame]) }
            case .message(.failure(let failure)):
                log.debug("demo: \(failure.code)")
            case .message(.ended(let end)):
                hasFailed = end.reason == "failed"
            case .message: break
            }
        }
        guard self.session === session else { return }
        self.session = nil
        guard hasFailed, !hasEnded else { return }
        try? await send(.error("The stream failed; start again."))
        connection.close(WebSocketClose(1011, "The stream failed."))
    }

    // MARK: - Frames out

    /// Adds someone who watches, and asks for frames. The first of more than four is let go.
    func watch() async throws -> Outbox {
        let outbox = Outbox(frameCapacity: 64)
        guard !hasEnded else {
            outbox.close()
            return outbox
        }
        viewers.append(outbox)
        if viewers.count > 4 { viewers.removeFirst().close() }
        feed()
        if !isPaused { try await ask() }
        return outbox
    }

    func unwatch(_ outbox: Outbox) { viewers.removeAll { $0 === outbox } }

    // MARK: - Asking

    /// Asks for a frame when the next one is due, unless that is under way.
    func askLater() {
        guard asking == nil, !isPaused else { return }
        let interval = Duration.seconds(1 / framesPerSecond)
        let time = max(.now, lastAsked.map { $0 + interval } ?? .now)
        asking = Task {
            guard (try? await Task.sleep(until: time)) != nil else { return }
            asking = nil
            // Nobody watches a camera, or the upload waits for the session: asked again when that changes.
            let isHeld = parameters.isUpload ? upload.isFull : viewers.isEmpty
            // A connection that cannot be written to ends by itself.
            if !isHeld { try? await ask() }
        }
    }

    private func ask() async throws {
        lastAsked = .now
        try await send(.sendFrame)
    }

    private func send(_ status: DemoStatus) async throws { try await connection.send(status.text) }

    // MARK: - Uploads

    /// Gives the session the frames of an upload while someone watches, no faster than they are shown.
    private func feed() {
        guard feeder == nil else { return }
        feeder = Task {
            await feedAll()
            feeder = nil
        }
    }

    private func feedAll() async {
        while !hasEnded, !viewers.isEmpty, let session {
            guard let frame = upload.first else {
                if upload.isComplete { session.finish() }
                return
            }
            let wait: Duration
            switch session.offer(frame) {
            case .ended: return
            case .taken:
                let wasFull = upload.isFull
                upload.removeFirst()
                if wasFull, !upload.isFull { askLater() }
                // A little faster than frames are asked for, so that none gathers.
                wait = .seconds(0.9 / framesPerSecond)
            case .full: wait = .milliseconds(10)
            }
            guard (try? await Task.sleep(for: wait)) != nil else { return }
        }
    }
}
