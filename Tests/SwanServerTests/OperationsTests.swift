import Foundation
import Hummingbird
import Logging
import SwanCheckpoints
import SwanHTTP
import SwanPipelines
import SwanSystem
import Synchronization
import Testing
import Torch

@testable import SwanServer

/// Starting, health, and the description of the routes.
struct OperationsTests {
    private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func server(
        _ health: ServerHealth,
        _ metrics: ServerMetrics,
        jobs: JobOptions? = nil,
        devices: Int = 1
    ) throws -> RealtimeServer {
        var options = ServerOptions(http: WebServerOptions(port: 0))
        options.jobs = jobs
        let model = try StreamCheckpoint("tiny").load(.float32, .cpu)
        return try RealtimeServer(
            Array(repeating: model, count: devices),
            options: options,
            health: health,
            metrics: metrics,
            log: Self.log
        )
    }

    @Test func theDescriptionHasTheRoutesAndNoOthers() throws {
        let metrics = ServerMetrics()
        let folder = FileManager.default.temporaryDirectory.path + "/swan-jobs-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let jobs = JobOptions(folder: folder)
        let server = try server(ServerHealth(metrics), metrics, jobs: jobs)
        defer { server.close() }
        let content = try ServerContent(
            WebServerOptions(),
            routes: { try server.addAllRoutes(to: $0) },
            webSockets: { _ in .refuse(.notFound) }
        )
        let described = try APIDescription(version: "1").routes
        let routes = Set(content.routes)
        #expect(routes.subtracting(described) == [], "not in openapi.json")
        #expect(described.subtracting(routes) == [], "described, but not there")
    }

    @Test func onlyRoutesThatExistAreDescribed() throws {
        let text = try APIDescription(version: "1.2").text(routes: ["GET /healthz", "POST /readyz"])
        let value = try JSONSerialization.jsonObject(with: Data(text.utf8))
        let document = try #require(value as? [String: Any])
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        #expect(Array(paths.keys) == ["/healthz"])
        #expect((document["info"] as? [String: Any])?["version"] as? String == "1.2")
    }

    @Test func theServerListensBeforeTheModelIsLoaded() async throws {
        let metrics = ServerMetrics()
        let health = ServerHealth(metrics)
        let (loads, mayLoad) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let port = try freePort()
        let (urls, opened) = AsyncStream<String>.makeStream()
        let task = Task {
            try await RealtimeServer.serve(
                ServerOptions(http: WebServerOptions(port: port)),
                health: health,
                metrics: metrics,
                log: Self.log,
                load: {
                    loads.signal()
                    mayLoad.wait()
                    return try server(health, metrics)
                },
                onReady: { opened.yield($0) }
            )
        }
        try await onThread { loads.wait() }
        let url = "http://127.0.0.1:\(port)"
        #expect(try await answer(url + "/healthz").status == 200)
        let refusal = try await answer(url + "/readyz")
        #expect(refusal.status == 503)
        #expect(refusal.body.contains(#""code":"loading""#))
        #expect(try await answer(url + "/v1/models").status == 503)
        #expect(metrics.text.contains("swan_ready 0\n"))
        mayLoad.signal()
        #expect(await urls.first { _ in true } == url)
        #expect(try await answer(url + "/readyz").status == 200)
        #expect(try await answer(url + "/v1/models").status == 200)
        #expect(metrics.text.contains("swan_ready 1\n"))
        task.cancel()
        _ = await task.result
        #expect(health.state == .draining)
    }

    @Test func aModelThatCannotBeLoadedEndsTheServer() async throws {
        let metrics = ServerMetrics()
        let health = ServerHealth(metrics)
        await #expect(throws: SwanError.self) {
            try await RealtimeServer.serve(
                ServerOptions(http: WebServerOptions(port: 0)),
                health: health,
                metrics: metrics,
                log: Self.log,
                load: { throw SwanError(.noSuchModel, "there is none") },
                onReady: { _ in Issue.record("is not ready") }
            )
        }
    }

    @Test func aLostDeviceEndsTheServer() async throws {
        let metrics = ServerMetrics()
        let health = ServerHealth(metrics)
        let lost = SwanError(.deviceUnavailable, "the device is lost")
        let error = await #expect(throws: SwanError.self) {
            try await RealtimeServer.serve(
                ServerOptions(http: WebServerOptions(port: 0)),
                health: health,
                metrics: metrics,
                log: Self.log,
                load: { try server(health, metrics) },
                onReady: { _ in
                    #expect(health.state == .ready)
                    health.lose("cuda:0", lost, left: 0)
                    #expect(health.refusal?.status == .serviceUnavailable)
                }
            )
        }
        #expect(error?.code == .deviceUnavailable)
        #expect(health.state == .failed)
        #expect(metrics.text.contains("swan_ready 0\n"))
    }

    @Test func oneOfSeveralDevicesMayFail() async throws {
        let metrics = ServerMetrics()
        let health = ServerHealth(metrics)
        let port = try freePort()
        let (urls, opened) = AsyncStream<String>.makeStream()
        let task = Task {
            try await RealtimeServer.serve(
                ServerOptions(http: WebServerOptions(port: port)),
                health: health,
                metrics: metrics,
                log: Self.log,
                load: { try server(health, metrics, devices: 2) },
                onReady: { opened.yield($0) }
            )
        }
        let url = try #require(await urls.first { _ in true })
        let ready = try await answer(url + "/readyz")
        #expect(ready.status == 200 && ready.body.contains(#""status":"ready""#))
        #expect(ready.body.components(separatedBy: #""device":"cpu""#).count == 3)
        let lost = SwanError(.deviceUnavailable, "the device is lost")
        health.lose("cpu", lost, left: 1)
        let degraded = try await answer(url + "/readyz")
        #expect(degraded.status == 200 && degraded.body.contains(#""status":"degraded""#))
        #expect(metrics.text.contains("swan_ready 1\n"))
        #expect(health.refusal == nil)
        health.become(.ready)
        #expect(health.state == .degraded)
        health.lose("cpu", lost, left: 0)
        let error = await #expect(throws: SwanError.self) { try await task.value }
        #expect(error == lost)
        #expect(health.state == .failed)
    }

    /// A port that was free a moment ago.
    private func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                try #require(bind(descriptor, address, length) == 0)
                try #require(getsockname(descriptor, address, &length) == 0)
            }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private func answer(_ url: String) async throws -> (status: Int, body: String) {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["curl", "-s", "-w", "%{http_code}", "--max-time", "300", url]
        process.standardOutput = output
        try process.run()
        let data = try await onThread { output.fileHandleForReading.readDataToEndOfFile() }
        let text = String(decoding: data, as: UTF8.self)
        return (Int(text.suffix(3)) ?? 0, String(text.dropLast(3)))
    }
}
